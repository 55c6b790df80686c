// A signal that reached a deputy is seen here before the deputy sees it. The deputy's dispositions and mask mirror the
// guest's, so its kernel state says what the signal means.
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>

#include "loader/task_status.h"
#include "supervisor/job.h"

namespace omx {

using namespace std::chrono;

namespace {
constexpr uint16_t kRestartNoHand = 514;  // ERESTARTNOHAND: EINTR if a handler runs

bool ignored_by_default(int s) { return s == SIGCHLD || s == SIGURG || s == SIGWINCH || s == SIGCONT; }
bool stops_by_default(int s) { return s == SIGSTOP || s == SIGTSTP || s == SIGTTIN || s == SIGTTOU; }
}  // namespace

Job::Disposition Job::disposition(HomePid pid, int signal) {
    TaskStatus status(pid);
    uint64_t bit = uint64_t{1} << (signal - 1);
    if (status.mask("SigIgn") & bit) return Disposition::ignored;
    if (status.mask("SigCgt") & bit) return Disposition::handled;
    if (ignored_by_default(signal)) return Disposition::ignored;
    return stops_by_default(signal) ? Disposition::stops : Disposition::fatal;
}

void Job::on_signal(HomeTid tid, int signal) {
    auto& t = *thread(tid);
    auto& p = *t.process;
    bool on_the_way = p.homecoming && t.state != Thread::State::home;
    if (!p.away && !on_the_way) return go_on_at_home(p, tid, signal);
    if (is_of_unseen_child(tid, signal)) {
        wait_on(t, signal);
        tracee::resume(tid);
        return;
    }
    auto meaning = disposition(p.pid, signal);
    if (p.ending || p.guest_gone) {
        // The handler's address means nothing in a deputy: only what kills by default may pass.
        tracee::resume(tid, meaning == Disposition::fatal ? signal : 0);
        return;
    }
    switch (meaning) {
        case Disposition::ignored:
            wait_on(t, signal);
            tracee::resume(tid);
            return;  // the kernel restarts what it interrupted
        case Disposition::stops:
            tracee::resume(tid, signal);
            return;  // the group stop that follows is another event
        case Disposition::fatal:
            if (p.away) return kill_guest_first(p, tid, signal);
            tracee::resume(tid, signal);  // its memory is home, nothing of its guest runs any more
            return;
        case Disposition::handled:
            break;
    }
    siginfo_t info{};
    tracee::signal_info(tid, info);
    if (on_the_way) {
        // Signals wait here meanwhile. When others of its threads run at home already, it is this one's.
        p.homecoming->signals.push_back({info.si_code == SI_TKILL || !p.away ? tid : HomeTid(), info});
        interrupt_call(t);
    } else {
        Link::Together together(link_);
        deliver_to_guest(t, info);
        interrupt_call(t);
        answer_interrupted(t);
    }
    resume_behind(t, info);
}

// How a call ends is known as soon as the kernel has interrupted it. Its guest needn't wait for the deputy to come out
// of the operations behind it: what it calls next does (on_call).
void Job::answer_interrupted(Thread& t) {
    if (t.state != Thread::State::calling || !t.active_for_guest()) return;
    auto& active = *t.active;
    auto& op = t.process->slots->slot(t.slot).ops[active.guest_op];
    bool plain = active.arena && active.arena->after.empty() && may_block(active.call.nr, active.call.guest);
    bool executes = active.call.nr == SYS_execve || active.call.nr == SYS_execveat;
    if (!active.restart || active.proc || !plain || executes) return;
    std::atomic_ref(op.result).store(-EINTR);
    reply(t, {-EINTR, active.restart});
    t.active.emplace();
}

// A timer's next signal may be due before the last one has left: then a deputy would go from one stop to the next and
// make no call any more, and nobody else's stop would be seen. So a call that has met many ends first, with the signal
// blocked, and a deputy without a call that has sent many waits until the node has them. Natively one would be pending
// meanwhile, and the timer would count the others. (Queued real-time signals are each somebody's: they all come before
// the call returns.)
void Job::resume_behind(Thread& t, const siginfo_t& info) {
    constexpr unsigned kMany = 16;
    constexpr int kFirstRealTime = 32;
    bool merges = info.si_signo < kFirstRealTime || info.si_code == SI_TIMER;
    bool calls = t.state == Thread::State::calling;
    t.parked = merges && !calls && t.process->signals_on_their_way > kMany;
    if (t.parked) return;
    uint64_t bit = uint64_t{1} << (info.si_signo - 1), mask = 0;
    if (merges && calls && ++t.signals_met > kMany && tracee::signal_mask(t.tid, mask)) {
        tracee::set_signal_mask(t.tid, mask | bit);
        t.blocked_for_call |= bit;
    }
    tracee::resume(t.tid);
}

// At the stop that ends its call, or at the first one of what the call has made. A mask that the call has set is right.
void Job::unblock_after_call(const Thread& caller, HomeTid tid) {
    uint64_t mask = 0;
    if (!caller.blocked_for_call || !tracee::signal_mask(tid, mask)) return;
    auto& made = caller.process->slots->slot(caller.slot).ops[caller.active ? caller.active->guest_op : 0];
    if (made.nr == SYS_rt_sigprocmask && made.args[0] == SIG_SETMASK) return;
    tracee::set_signal_mask(tid, mask & ~caller.blocked_for_call);
}

void Job::unpark(Thread& t) {
    if (std::exchange(t.parked, false)) tracee::resume(t.tid);
}

// Untraced nobody would have been woken by an ignored signal. The kernel restarts most calls by itself, but these say
// EINTR. (After SIGCONT they say so natively, too.) They go on with what is left of their time.
void Job::wait_on(Thread& t, int signal) {
    user_regs_struct regs;
    if (signal == SIGCONT || t.state != Thread::State::calling || !t.active_for_guest()) return;
    if (!tracee::registers(t.tid, regs) || regs.rip != blob_address(omx_blob_called)) return;
    if (static_cast<int64_t>(regs.rax) != -EINTR) return;
    switch (regs.orig_rax) {
        case SYS_epoll_wait: case SYS_epoll_pwait: case SYS_epoll_pwait2: case SYS_rt_sigtimedwait: case SYS_semop:
        case SYS_semtimedop: break;
        default: return;
    }
    if (handled_signal_waits(t)) return;
    if (regs.orig_rax == SYS_epoll_wait || regs.orig_rax == SYS_epoll_pwait) {
        auto timeout = static_cast<int32_t>(t.active->call.guest[3]);
        auto left = ceil<milliseconds>(time_left(t, milliseconds(timeout)));
        if (timeout > 0) regs.r10 = static_cast<uint64_t>(left.count());
    } else if (regs.orig_rax != SYS_semop) {
        shorten(t, regs.orig_rax == SYS_rt_sigtimedwait ? regs.rdx : regs.r10);
    }
    regs.rax = std::exchange(regs.orig_rax, ~uint64_t{0});
    regs.rip -= 2;
    tracee::set_registers(t.tid, regs);
}

// Of the time that its call was given when it began.
nanoseconds Job::time_left(const Thread& t, nanoseconds given) {
    return std::max(nanoseconds(0), t.active->since + given - steady_clock::now());
}

void Job::shorten(Thread& t, uint64_t address) {
    auto at = address ? in_slot(t, address, sizeof(timespec)) : nullptr;
    if (!at) return;
    timespec timeout;
    std::memcpy(&timeout, at, sizeof timeout);
    constexpr int64_t longest = 1'000'000'000;                 // seconds; beyond it nobody will see a difference
    if (timeout.tv_sec > longest) return;
    if (!t.active->given) t.active->given = seconds(timeout.tv_sec) + nanoseconds(timeout.tv_nsec);
    auto left = time_left(t, *t.active->given);
    timeout = {.tv_sec = left / seconds(1), .tv_nsec = (left % seconds(1)).count()};
    std::memcpy(at, &timeout, sizeof timeout);
}

// Another one, that is to interrupt the call.
bool Job::handled_signal_waits(const Thread& t) {
    TaskStatus status(t.tid);
    return status.pending() & ~status.mask("SigBlk") & ~status.mask("SigIgn");
}

// Ahead of the reply of the call it interrupts, because the link is ordered.
void Job::deliver_to_guest(Thread& t, const siginfo_t& info) {
    // Process-directed signals stay so: the node's kernel chooses the thread, knowing masks that home may not (F3).
    HomeTid target = info.si_code == SI_TKILL ? t.tid : HomeTid(0);
    if (!link_up_) return;
    tell_shared();
    link_.send(FrameType::signal, 0, SignalFrame{t.process->pid, target, info});
    // Its answer tells that the node has the signal; what the guest calls until then doesn't know of it (see on_call).
    t.process->signals_on_their_way++;
    link_.send(FrameType::ping, 0, KillFrame{t.process->pid});
}

// ---- signals that guests send ----

bool Job::sends_signal(uint32_t nr) {
    return nr == SYS_kill || nr == SYS_tkill || nr == SYS_tgkill || nr == SYS_rt_sigqueueinfo ||
           nr == SYS_rt_tgsigqueueinfo || nr == SYS_pidfd_send_signal;
}

namespace {
// True while a thread has yet to be seen at its delivery stop with a signal that it doesn't block. Not if that can be
// long in coming: then natively nobody waits for it either.
bool will_be_delivered(const DeputyThread& t) {
    auto& p = *t.process;
    if (!p.away || p.ending || p.guest_gone || p.stopped || !p.held.empty()) return false;
    if (t.state == DeputyThread::State::ended) return false;
    TaskStatus status(t.tid);
    return status.pending() & ~status.mask("SigBlk") && status.state() != 'D';
}

bool will_be_delivered_to_one(const DeputyProcess& p) {
    return std::ranges::any_of(p.threads, [](auto& t) { return will_be_delivered(*t.second); });
}
}  // namespace

// Whether the call's signals are still to be seen at deputies of this job.
bool Job::signal_on_its_way(const HomeCall& call) {
    auto number = [&](int i) { return static_cast<pid_t>(call.guest[i]); };
    switch (call.nr) {
        case SYS_tkill:
        case SYS_tgkill:
        case SYS_rt_tgsigqueueinfo: {
            auto to = thread(HomeTid(number(call.nr == SYS_tkill ? 0 : 1)));
            return to && will_be_delivered(*to);
        }
        case SYS_kill:
        case SYS_rt_sigqueueinfo:
            if (auto to = process(HomePid(number(0)))) return will_be_delivered_to_one(*to);
            if (number(0) > 0) return false;
            break;
        default:
            break;
    }
    return std::ranges::any_of(processes_, [](auto& p) { return will_be_delivered_to_one(*p.second); });
}

// When kill() returns, the signal is pending, and who gets it acts on it before anything that the sender does next. The
// sender may tell through memory that guests share: so it goes on when the signal is on the link, not before.
void Job::answer_senders() {
    if (senders_.empty()) return;
    std::vector<HomeTid> done;
    for (auto tid : senders_) {
        auto t = thread(tid);
        if (!t || !t->held_reply || !signal_on_its_way(t->active->call)) done.push_back(tid);
    }
    on_children();                                // what was on its way no longer may be in a stop that we haven't seen
    for (auto tid : done) {
        std::erase(senders_, tid);
        auto t = thread(tid);
        if (!t || !t->held_reply) continue;
        auto head = *std::exchange(t->held_reply, std::nullopt);
        // Of a process on its way home the reply is no frame: see finish_call_at_home.
        if (t->state != Thread::State::idle || t->process->ending || t->process->homecoming) continue;
        reply(*t, head);
        run_waiting(*t);
    }
}

void Job::on_signal_arrived(View body) {
    auto about = KillFrame::decode(body);
    if (!about) return link_lost(about.error());
    auto p = process(about->pid);
    if (!p || !p->signals_on_their_way) return;
    p->signals_on_their_way--;
    for (auto& [tid, t] : p->threads) unpark(*t);
}

// A timer of CPU time has run out where the time is used. Its signal is queued here as the kernel would have done, and
// comes to the guest as every other does, or stays pending, or wakes who waits for it.
void Job::on_raise(const SignalFrame& f) {
    auto p = process(f.pid);
    if (f.info.si_code != SI_TIMER) return link_lost({"the node wants to raise a signal that is no timer's"});
    if (!p || !p->away || p->ending) return;
    int signal = f.info.si_signo;
    if (f.tid.value) syscall(SYS_rt_tgsigqueueinfo, f.pid.value, f.tid.value, signal, &f.info);
    else syscall(SYS_rt_sigqueueinfo, f.pid.value, signal, &f.info);
}

// The deputy's call must end now, with EINTR to the blob: whether it restarts is decided where the handler runs.
void Job::interrupt_call(Thread& t) {
    if (t.state != Thread::State::calling || !t.active_for_guest()) return;
    user_regs_struct regs;
    if (!tracee::registers(t.tid, regs)) return;
    auto& slot = t.process->slots->slot(t.slot);
    bool guests_own =
        slot.ops[t.active->guest_op].flags & OMX_OP_GUEST_CALL;  // not clone, mmap: they go on by themselves
    if (!guests_own) return;
    bool current = regs.r14 == SlotMemory::slot_address(t.slot).value + OMX_OPS + t.active->guest_op * sizeof(SlotOp);
    if (current && regs.rip == blob_address(omx_blob_called)) {
        auto code = -static_cast<int64_t>(regs.rax);
        bool inside =
            static_cast<int64_t>(regs.orig_rax) >= 0 && (code == 512 || code == 513 || code == 514 || code == 516);
        // epoll_pwait says so for good. But its mask, which may be all that lets the signal through, is not the guest's
        // own: the node must know that the handler comes first.
        bool masked = regs.orig_rax == SYS_epoll_pwait || regs.orig_rax == SYS_epoll_pwait2;
        if (masked && code == EINTR) t.active->restart = kRestartNoHand;
        if (!inside) return;  // it was over already
        t.active->restart = static_cast<uint16_t>(code);
        regs.rax = static_cast<uint64_t>(-EINTR);
        regs.orig_rax = ~uint64_t{0};
        tracee::set_registers(t.tid, regs);
    } else if (current && regs.rip >= blob_address(omx_blob_committed) && regs.rip < blob_address(omx_blob_called)) {
        t.active->restart = 513;  // it hasn't begun: it will begin anew
        regs.rip = blob_address(omx_blob_skip);
        tracee::set_registers(t.tid, regs);
    } else {
        slot.cancel = 1;
    }
}

void Job::kill_guest_first(Process& p, HomeTid tid, int signal) {
    p.held.push_back({tid, signal});
    if (link_up_)
        send_kill(p);
    else
        release_held(p);
}

void Job::release_held(Process& p) {
    p.ending = true;
    for (auto& h : std::exchange(p.held, {})) {
        auto t = thread(h.tid);
        if (t && h.signal == 0) {
            if (is_last(*t)) write_stats();
            t->state = Thread::State::ended;
        }
        tracee::resume(h.tid, h.signal);
    }
}

// ---- SIGTRAP ----

// The place in the slot's data where the deputy has `address`; nullptr: elsewhere.
std::byte* Job::in_slot(Thread& t, uint64_t address, size_t bytes) {
    uint64_t at = address - (SlotMemory::slot_address(t.slot).value + OMX_PAGE);
    return at <= OMX_SLOT_BYTES - OMX_PAGE - bytes ? t.process->slots->slot_data(t.slot) + at : nullptr;
}

// What the guest has made of SIGTRAP, by a call that has succeeded.
void Job::note_trap(Thread& t) {
    if (!t.active_for_guest() || t.process->slots->slot(t.slot).ops[t.active->guest_op].result != 0) return;
    auto& call = t.active->call;
    auto copy = [&](auto& to) {
        auto from = in_slot(t, call.deputy[1], sizeof to);
        if (from) std::memcpy(&to, from, sizeof to);
        return from != nullptr;
    };
    uint64_t set = 0;
    SignalAction action;
    if (call.nr == SYS_rt_sigaction && call.guest[0] == SIGTRAP && copy(action)) {
        t.process->trap_action.reset();
        if (action.handler) t.process->trap_action = action;
    } else if (call.nr == SYS_rt_sigprocmask && copy(set)) {
        bool named = set >> (SIGTRAP - 1) & 1;
        auto how = static_cast<int>(call.guest[0]);
        t.trap_blocked = how == SIG_SETMASK ? named : named ? how == SIG_BLOCK : t.trap_blocked;
    }
}

// At the int3. If SIGTRAP is blocked or ignored then, the kernel unblocks it and makes its action the default one:
// both are put right. False: it doesn't stand there any more (see make_call).
bool Job::mend_trap(Thread& t, const user_regs_struct& regs) {
    auto& action = t.process->trap_action;
    if (!t.trap_blocked && !(action && action->handler == 1)) return true;
    constexpr uint64_t trap = uint64_t{1} << (SIGTRAP - 1);
    uint64_t mask = 0;
    if (!tracee::signal_mask(t.tid, mask)) return true;
    if (!tracee::set_signal_mask(t.tid, action ? ~uint64_t{0} : mask | trap) || !action) return true;
    // At the end of that place: what operations of ours have there is in front.
    uint64_t place = own_place(t) + OMX_PAGE - sizeof *action;
    std::memcpy(in_slot(t, place, sizeof *action), &*action, sizeof *action);
    auto injected = regs;
    injected.rip = blob_address(omx_blob_called) - 2;          // the system call instruction before it
    injected.rax = SYS_rt_sigaction, injected.orig_rax = ~uint64_t{0};
    injected.rdi = SIGTRAP, injected.rsi = place;
    injected.rdx = 0, injected.r10 = sizeof mask;
    if (!make_call(t.tid, injected)) return false;             // signals that are pending wait, blocked
    tracee::set_registers(t.tid, regs);
    tracee::set_signal_mask(t.tid, t.trap_blocked ? mask | trap : mask);
    return true;
}

}  // namespace omx
