// Programs that stay at home, from their exec on: those that can't leave go on there traced, for their children may
// leave; those that being traced would change are let go for good, and with them all that they will start.
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>

#include "loader/task_status.h"
#include "supervisor/exec_again.h"
#include "supervisor/job.h"

namespace omx {

// In the stop behind a successful execve. Its guest, which the node holds before its own execve, must be gone before
// anything runs at home.
void Job::stay_home(Process& p, Judgement why) {
    p.staying = std::move(why);
    if (!p.away || p.guest_gone || !link_up_) return settle_at_home(p);
    p.image_on_its_way = true;  // none is, but what its old threads still call gets no answer either
    send_kill(p);
}

void Job::settle_at_home(Process& p) {
    HomeTid tid(p.pid.value);
    p.ending = p.guest_gone = p.kill_sent = p.image_on_its_way = false;
    p.program = program_of(p.pid);
    auto [hold, reason] = *std::exchange(p.staying, std::nullopt);
    p.is_now(false, reason);
    stats_.processes.push_back({p.pid.value, p.program, "home", reason, 0, 0, 0, 0});
    tracee::die_with_supervisor(tid, false);
    switch (hold) {
        case Hold::keep:
            tracee::resume(tid);
            return;
        case Hold::let_go:
            return let_go(p);
        case Hold::exec_again:
            return exec_again(p);
    }
}

void Job::let_go(Process& p) { let_go(*thread(HomeTid(p.pid.value))); }

void Job::let_go(Thread& t) {
    auto tid = t.tid;
    if (is_last(t)) write_stats();
    tracee::detach(tid);
    forget(tid);
}

void Job::exec_again(Process& p) {
    HomeTid tid(p.pid.value);
    user_regs_struct fresh{};
    if (tracee::registers(tid, fresh) && point_at_exec(tid, fresh)) return let_go(p);
    p.fresh = fresh;
    tracee::resume_to_syscall_stop(tid);
}

// Its memory is closed to us, and here is the first place where it can be made to open it.
void Job::on_first_call(Process& p) {
    HomeTid tid(p.pid.value);
    auto fresh = *std::exchange(p.fresh, std::nullopt);
    user_regs_struct call{};
    if (!tracee::registers(tid, call) || !replace_by_opening(tid, call)) {
        tracee::resume(tid);
        return;
    }
    if (!reach_call_stop(tid)) return;
    if (point_at_exec(tid, fresh)) return let_go(p);
    call.rax = std::exchange(call.orig_rax, ~uint64_t{0});  // it stays as it is, and makes its call now
    call.rip -= 2;
    tracee::set_registers(tid, call);
    tracee::resume(tid);
}

// To the next stop at a system call, where that is certain to come at once. False: it is dying, which has been seen to.
// A stop for job control, which nothing can block, waits until then: here the thread is between two programs, or in
// front of a call of ours. SIGSTOP is sent once more, unless SIGCONT has ended it already; of a stop that has begun we
// are told again when we ask.
bool Job::reach_call_stop(HomeTid tid) {
    bool stopped = false, told = false;
    for (;;) {
        int status = 0;
        if (!tracee::resume_to_syscall_stop(tid)) return false;
        if (!tracee::wait_stop(tid, status)) return on_thread_ended(tid, status), false;
        if (WSTOPSIG(status) == tracee::kSyscallStop) break;
        if (tracee::event_of(status) == PTRACE_EVENT_STOP) told = true;
        else if (tracee::event_of(status) == 0 && WSTOPSIG(status) == SIGSTOP) stopped = true;
        else return on_stop(tid, status), false;
    }
    bool continued = TaskStatus(tid).pending() >> (SIGCONT - 1) & 1;
    if (stopped && !continued) syscall(SYS_tkill, tid.value, SIGSTOP);
    if (told) tracee::interrupt(tid);
    return true;
}

// Has a thread whose signals are blocked make one call, with these registers, which point at a system call instruction.
// It stands behind it then. Not by a single step: that would be a trap, and where SIGTRAP is blocked or ignored its action
// would be lost. False: it is ending, or another thread has executed a program in its place; that has been seen to.
bool Job::make_call(HomeTid tid, const user_regs_struct& regs) {
    tracee::set_registers(tid, regs);
    return reach_call_stop(tid) && reach_call_stop(tid);
}

// Until its first call a program that was closed to us is watched for that call, whatever else it meets, and who has
// borrowed its memory until it executes.
void Job::go_on_at_home(const Process& p, HomeTid tid, int signal) {
    if (p.fresh || p.borrowed)
        tracee::resume_to_syscall_stop(tid, signal);
    else
        tracee::resume(tid, signal);
}

// ---- a supervisor that is asked to end ----

// By SIGTERM, SIGINT or SIGHUP. Nothing may be lost by that (F15): what is at home goes on untraced, what is away comes
// home and does so, too. Only a second one kills.
void Job::on_asked_to_end() {
    auto away = count_away();
    if (asked_to_end_) _exit(1);  // EXITKILL ends those that are away
    asked_to_end_ = true;
    for (auto& [pid, p] : processes_) ask_home(*p, kAsked);
    if (away)
        say(fmt::format("asked to end: {} process{} home; asked again before that, it ends them", away,
                        away == 1 ? " comes" : "es come"));
    else
        write_stats();
}

size_t Job::count_away() const {
    auto needs_us = [](auto& p) { return p.second->away || p.second->homecoming || p.second->borrowed; };
    return static_cast<size_t>(std::ranges::count_if(processes_, needs_us));
}

}  // namespace omx
