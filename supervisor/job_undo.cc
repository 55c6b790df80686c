// A clone that home has made and the node can't make (a limit of processes, no memory): home's child goes again, and
// its parent, which gets the node's errno, must not notice that there ever was one (F20): it gets no SIGCHLD of it, and
// nobody who waits for children gets this one.
//
// The kernel tells the parent as soon as we have reaped the child, which we must as its tracer. So before the child
// dies, threads of the parent that wait for children are stopped; calls of the parent's guest that come now are kept.
// Then the parent's own deputy, the caller's thread, reaps the child, and takes a SIGCHLD that is pending because it is
// blocked. One that is not blocked is seen at its delivery stop, like every signal, and goes no further.
#include <sys/syscall.h>
#include <sys/wait.h>


#include "loader/task_status.h"
#include "supervisor/job.h"

namespace omx {

namespace {
bool sigchld_pending(HomePid pid) { return TaskStatus(pid).mask("ShdPnd") >> (SIGCHLD - 1) & 1; }
}  // namespace

void Job::on_undo(const UndoFrame& frame) {
    auto child = process(frame.pid);
    auto caller = thread(frame.caller);
    if (!child || !child->away || child->ending || child->guest_gone) return;
    bool can = caller && caller->state == Thread::State::idle && !caller->process->undo && !caller->process->ending &&
               caller->process != child && child->held.empty();
    if (!can) {                                // the caller is dying, or somebody has killed the child
        child->guest_gone = true;
        return child->held.empty() ? end_like_guest(*child, 0) : release_held(*child);
    }
    caller->process->undo = {.child = child->pid, .caller = caller->tid, .stopped = {}};
    child->ending = child->guest_gone = true;
    child->undone_by = caller->process->pid;
    syscall(SYS_pidfd_send_signal, child->pidfd.get(), SIGKILL, nullptr, 0);
}

// A thread that has ended in the middle of its clone is told nothing any more, and the node never hears of the child.
// Natively it might not have come to be: it goes before it has run.
void Job::end_unborn_of(HomeTid parent) {
    std::vector<Process*> unborn;
    for (auto& [pid, p] : processes_)
        if (p->unborn_of == parent) unborn.push_back(p.get());
    for (auto p : unborn) {
        p->unborn_of = HomeTid();
        p->ending = p->guest_gone = true;
        if (!p->held.empty()) release_held(*p);
        else syscall(SYS_tkill, p->pid.value, SIGKILL);
    }
}

Job::Process* Job::undoer_of(HomeTid child) {
    auto c = process(HomePid(child.value));
    auto p = c ? process(c->undone_by) : nullptr;
    return p && p->undo && !p->undo->reaping && p->undo->child == c->pid ? p : nullptr;
}

// The child is held at its exit: it can't be waited for yet.
void Job::hold_waiting_threads(Process& p) {
    std::vector<std::pair<HomeTid, int>> ended;
    for (auto& [tid, t] : p.threads) {
        if (t->state != Thread::State::calling || !t->active_for_guest()) continue;
        auto nr = t->active->call.nr;
        int status = 0;
        unpark(*t);
        if ((nr != SYS_wait4 && nr != SYS_waitid) || !tracee::interrupt(tid)) continue;
        auto& into = tracee::wait_stop(tid, status) ? p.undo->stopped : ended;
        into.emplace_back(tid, status);
    }
    for (auto [tid, status] : ended) on_thread_ended(tid, status);
    if (!sigchld_pending(p.pid)) unseen_.insert(p.undo->child.value);       // else that one stands for both
}

// It has died, and we have reaped it as its tracer: now it is its parent's.
void Job::reap_unseen(Process& p) {
    p.undo->reaping = true;
    auto caller = thread(p.undo->caller);
    if (!caller || caller->state != Thread::State::idle) return undo_done(p);
    auto child = static_cast<uint64_t>(p.undo->child.value);
    struct {
        uint64_t sigchld = uint64_t{1} << (SIGCHLD - 1);
        timespec at_once{};
    } data;
    uint64_t at = own_data(*caller, &data, sizeof data);
    std::vector<SlotOp> ops{op(SYS_wait4, {child, 0, __WALL, 0})};
    if (caller->pidfd_of_child >= 0) ops.push_back(op(SYS_close, {static_cast<uint64_t>(caller->pidfd_of_child)}));
    if (unseen_.contains(p.undo->child.value))
        ops.push_back(op(SYS_rt_sigtimedwait, {at, 0, at + offsetof(decltype(data), at_once), 8}));
    post_ours(*caller, ops);
}

void Job::undo_done(Process& p) {
    auto stopped = std::move(p.undo->stopped);
    p.undo.reset();
    for (auto [tid, status] : stopped) on_stop(tid, status);
    std::vector<HomeTid> all;
    for (auto& [tid, t] : p.threads) all.push_back(tid);
    for (auto tid : all)
        if (auto t = thread(tid); t && t->state == Thread::State::idle) run_waiting(*t);
}

bool Job::is_of_unseen_child(HomeTid tid, int signal) {
    siginfo_t info{};
    if (signal != SIGCHLD || unseen_.empty() || !tracee::signal_info(tid, info)) return false;
    return info.si_code > 0 && unseen_.erase(info.si_pid) == 1;
}

}  // namespace omx
