// The few ptrace requests the supervisor makes, each naming what it does to which thread. A tracee may die between any
// two of them (SIGKILL): ESRCH is a normal outcome and returned as false; the exit arrives by waitpid.
#pragma once
#include "protocol/result.h"
#include "protocol/types.h"
#include <optional>
#include <signal.h>
#include <sys/user.h>

namespace omx::tracee {

// Options: report forks, clones, execs and exits; syscall stops marked by SIGTRAP|0x80.
Status seize(HomePid);
// Whether it dies with the supervisor: a deputy must, for its memory is elsewhere; a process at home goes on (F15).
bool die_with_supervisor(HomeTid, bool);
bool resume(HomeTid, int signal = 0);
bool resume_to_syscall_stop(HomeTid, int signal = 0);
bool listen(HomeTid);          // stay in a group stop, yet report SIGCONT
bool interrupt(HomeTid);
bool registers(HomeTid, user_regs_struct&);
bool set_registers(HomeTid, const user_regs_struct&);
bool signal_info(HomeTid, siginfo_t&);
bool event_message(HomeTid, unsigned long&);
bool signal_mask(HomeTid, uint64_t&);
bool set_signal_mask(HomeTid, uint64_t);
bool detach(HomeTid);

// Waits for the next stop of one thread. False: it is gone. Used only where the stop is certain to come at once.
bool wait_stop(HomeTid, int& status);

// A system call instruction that is mapped in every process: the vDSO has one, at the same offset for all of a kernel.
std::optional<uint64_t> syscall_offset_in_vdso();

// A stop's parts.
inline int event_of(int status) { return status >> 16; }
constexpr int kSyscallStop = SIGTRAP | 0x80;

}  // namespace omx::tracee
