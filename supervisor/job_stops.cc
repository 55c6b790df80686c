// Every ptrace stop of a process of the job, sorted by what it means.
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "supervisor/job.h"

namespace omx {

bool Job::on_children() {
    int status = 0;
    bool news = false;
    for (pid_t tid; (tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0;) {
        if (WIFSTOPPED(status))
            on_stop(HomeTid(tid), status);
        else
            on_thread_ended(HomeTid(tid), status);
        news = true;
    }
    return news;
}

void Job::on_own_signals() {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD) on_asked_to_end();
    on_children();
}

namespace {
// And not a SIGTRAP that somebody has sent while it stood at one.
bool is_int3(const siginfo_t& info) { return info.si_signo == SIGTRAP && info.si_code == SI_KERNEL; }
bool is_at_its_exit(const siginfo_t& info) { return info.si_code == (SIGTRAP | PTRACE_EVENT_EXIT << 8); }
}  // namespace

void Job::on_stop(HomeTid tid, int status) {
    int signal = WSTOPSIG(status);
    switch (tracee::event_of(status)) {
        case PTRACE_EVENT_FORK:
        case PTRACE_EVENT_VFORK:
        case PTRACE_EVENT_CLONE:
            return on_clone_event(tid);
        case PTRACE_EVENT_EXEC:
            return on_exec(tid);
        case PTRACE_EVENT_EXIT:
            return on_exit_event(tid);
        case PTRACE_EVENT_STOP:
            return on_event_stop(tid, status);
        default:
            break;
    }
    auto t = thread(tid);
    if (!t) {
        tracee::resume(tid, signal == SIGTRAP ? 0 : signal);
        return;
    }
    // Killed out of a stop that we are told of only now, by another thread's exec say: what it was for can't be asked any
    // more. It stands at its exit by now, or will, and we shall be told of that.
    siginfo_t info{};
    if (!tracee::signal_info(tid, info) || is_at_its_exit(info)) return;
    bool in_blob = t->process->away || t->process->homecoming;
    if (in_blob && is_int3(info) && on_blob_trap(*t)) return;
    if (signal == tracee::kSyscallStop) {
        if (t->process->fresh) return on_first_call(*t->process);
        if (t->process->borrowed) return on_borrowers_call(*t);
        tracee::resume(tid);
        return;
    }
    on_signal(tid, signal);
}

void Job::on_clone_event(HomeTid parent) {
    unsigned long child = 0;
    tracee::event_message(parent, child);
    HomeTid made(static_cast<pid_t>(child));
    if (!thread(made)) announced_[made] = parent;
    if (auto t = thread(parent)) go_on_at_home(*t->process, parent);
    else tracee::resume(parent);
    if (stopped_early_.contains(made)) on_new_tracee(made);
}

void Job::on_event_stop(HomeTid tid, int status) {
    auto t = thread(tid);
    if (!t) return on_first_stop(tid);
    if (!t->forced.empty()) return run_forced(*t);
    if (t->process->to_be_let_go && !t->process->away && !t->process->homecoming) return let_go(*t);
    if (std::exchange(t->asked_to_leave_call, false)) leave_call(*t);
    int signal = WSTOPSIG(status);
    bool group_stop = signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
    // Of all threads the first to tell decides: the leader may have ended (F14).
    bool news = std::exchange(t->process->stopped, group_stop) != group_stop;
    if (news && t->process->away && link_up_)
        link_.send(FrameType::freeze, 0, FreezeFrame{t->process->pid, group_stop});
    if (group_stop)
        tracee::listen(tid);  // stays stopped as its parent was told, and wakes by SIGCONT
    else
        go_on_at_home(*t->process, tid);
}

// Points a stopped thread at operations of ours, whatever it was doing; what it did is lost, so this is for its end.
void Job::run_forced(Thread& t) {
    user_regs_struct regs;
    if (!t.process->slots || !tracee::registers(t.tid, regs)) {
        tracee::resume(t.tid);
        return;
    }
    auto ops = std::exchange(t.forced, {});
    t.active.reset();
    t.active.emplace();
    post(t, ops, true);
    regs.rip = blob_address(omx_blob_run);
    regs.r15 = SlotMemory::slot_address(t.slot).value;
    regs.orig_rax = ~uint64_t{0};  // no restart of the call it was in
    tracee::set_registers(t.tid, regs);
    tracee::resume(t.tid);
}

void Job::on_exit_event(HomeTid tid) {
    auto t = thread(tid);
    if (!t) {
        tracee::resume(tid);
        return;
    }
    auto& p = *t->process;
    descriptors_.drop_copies(p.pid);  // what it closes at its end must be closed then
    if (p.borrowed) give_back(p, tid);
    bool ours = t->exit_expected || p.ending || p.exec_in_progress || !p.away || p.guest_gone || !link_up_;
    if (!ours) {                                  // killed from outside: its guest must be gone first (F11)
        kill_guest_first(p, tid, 0);
        if (t->state == Thread::State::preparing) died_before_it_was_ready(*t);
        return;
    }
    if (is_last(*t)) write_stats();
    t->state = Thread::State::ended;
    if (auto parent = undoer_of(tid)) hold_waiting_threads(*parent);
    tracee::resume(tid);
}

// Whoever made it gets its number all the same: a child may be killed at any time.
void Job::died_before_it_was_ready(Thread& t) {
    t.state = Thread::State::ended;
    if (auto maker = thread(t.made_by)) finish_clone_if_ready(*maker);
}

void Job::on_thread_ended(HomeTid tid, int) {
    announced_.erase(tid);
    stopped_early_.erase(tid);
    auto parent = undoer_of(tid);
    forget(tid);
    end_unborn_of(tid);
    end_nobodys_children();
    if (parent) reap_unseen(*parent);
}

}  // namespace omx
