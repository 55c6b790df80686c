// The few ptrace requests that the worker makes, by type. Any of them fails when the thread is gone (SIGKILL reaches a
// stopped thread too): callers treat false as "its end will be reported", never as an error.
#pragma once
#include "protocol/types.h"
#include <csignal>
#include <optional>
#include <sys/ptrace.h>
#include <sys/user.h>

namespace omx::tracee {

constexpr long kOptions = PTRACE_O_EXITKILL | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                          PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD;

inline bool request(int what, HomeTid tid, long addr = 0, long data = 0) {
    return ptrace(static_cast<__ptrace_request>(what), tid.value, addr, data) == 0;
}
inline bool seize(HomeTid tid) { return request(PTRACE_SEIZE, tid, 0, kOptions); }
inline bool interrupt(HomeTid tid) { return request(PTRACE_INTERRUPT, tid); }
inline bool registers(HomeTid tid, user_regs_struct& r) { return ptrace(PTRACE_GETREGS, tid.value, nullptr, &r) == 0; }
inline bool set_registers(HomeTid tid, const user_regs_struct& r) {
    return ptrace(PTRACE_SETREGS, tid.value, nullptr, &r) == 0;
}
// Those of a call, after others were put in their place: libc keeps values in them.
inline void restore_arguments(user_regs_struct& regs, const user_regs_struct& from) {
    regs.orig_rax = from.orig_rax;
    regs.rdi = from.rdi, regs.rsi = from.rsi, regs.rdx = from.rdx;
    regs.r10 = from.r10, regs.r8 = from.r8, regs.r9 = from.r9;
}
inline bool event_message(HomeTid tid, unsigned long& m) {
    return ptrace(PTRACE_GETEVENTMSG, tid.value, nullptr, &m) == 0;
}
inline bool signal_info(HomeTid tid, siginfo_t& i) { return ptrace(PTRACE_GETSIGINFO, tid.value, nullptr, &i) == 0; }
inline bool set_signal_info(HomeTid tid, const siginfo_t& i) {
    return ptrace(PTRACE_SETSIGINFO, tid.value, nullptr, const_cast<siginfo_t*>(&i)) == 0;
}

}  // namespace omx::tracee
