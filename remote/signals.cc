// Signals come from home, where they arrived at the deputy. Here they are sent to the guest natively, so that the
// node's kernel chooses the thread, and get their real siginfo at the delivery stop: a process may not send a siginfo
// that claims to be from the kernel or somebody else (F2).
//
// A call that home's signal interrupted is answered with the kernel's own restart errno. That is only safe with a
// PTRACE_INTERRUPT pending for that very thread (C): it makes the kernel look at signals, and so at the restart, even
// if another thread gets the signal.
#include "loader/task_status.h"
#include "remote/debug.h"
#include "remote/worker.h"
#include <algorithm>
#include <csignal>
#include <sys/syscall.h>
#include <sys/ucontext.h>

namespace omx {
namespace {

constexpr int kFirstRealTime = 32;
constexpr uint64_t bit(int signal) { return uint64_t{1} << (signal - 1); }
constexpr uint64_t kNeverBlocked = bit(SIGKILL) | bit(SIGSTOP);
// Signals 32 and 33 are the C library's own. No program's mask has them, unless it is made by hand; glibc's last mask of
// a thread doesn't have the second.
constexpr int kChangesIds = 33;
bool is_a_librarys(uint64_t mask) { return (mask | bit(kChangesIds)) == ~kNeverBlocked; }

// What pid 1 of this namespace sent, and nobody else does: guests' own kill goes home.
bool ours(const siginfo_t& info) { return (info.si_code == SI_USER || info.si_code == SI_TKILL) && info.si_pid == 1; }

bool is_of_timer(const siginfo_t& a, const siginfo_t& b) {
    return a.si_code == SI_TIMER && b.si_code == SI_TIMER && a.si_timerid == b.si_timerid;
}

}  // namespace

// ---- frames ----

// Natively such a signal finds the thread that runs when the timer runs out, and profilers rely on it: it is for the one
// that has used most since it got its last one. 0: whoever doesn't block it.
HomeTid Worker::who_is_timed(Process& p, int signal) {
    Thread* most = nullptr;
    uint64_t used_most = 0;
    for (pid_t tid : p.threads) {
        auto& t = *guests_.thread(HomeTid(tid));
        uint64_t used = read_cpu_clock({p.pid, t.tid}, 0).value_or(0);
        uint64_t since = used - std::min(used, t.timed_ns);
        if (t.exiting || since <= used_most || TaskStatus(t.tid).mask("SigBlk") & bit(signal)) continue;
        most = &t, used_most = since;
    }
    if (!most) return HomeTid();
    most->timed_ns += used_most;
    return most->tid;
}

void Worker::on_signal(const SignalFrame& from_home) {
    auto frame = from_home;
    auto p = guests_.process(frame.pid);
    int signal = frame.info.si_signo;
    if (signal < 1 || signal > 64 || signal == SIGKILL || signal == SIGSTOP)
        return link_ended({fmt::format("home sent signal {} as one to be handled", signal), EPROTO});
    if (!p && clone_) early_signals_.push_back(frame);
    if (!p || p->killed) return;
    bool times_all = frame.info.si_code == SI_TIMER && frame.info.si_timerid < 0;
    if (times_all && p->threads.size() > 1) frame.tid = who_is_timed(*p, signal);
    if (times_all) as_the_kernels(frame.info);
    OMX_DEBUG("{}: signal {} for thread {}", p->pid.value, signal, frame.tid.value);
    // Ordinary signals of one kind merge while pending, as they do at home, and all those of one timer; what waits
    // already keeps its siginfo.
    auto waiting = std::ranges::find_if(p->signals, [&](auto& s) {
        if (s.info.si_signo != signal || s.tid != frame.tid) return false;
        return signal < kFirstRealTime || is_of_timer(s.info, frame.info);
    });
    bool merges = waiting != p->signals.end();
    if (merges && is_of_timer(waiting->info, frame.info)) waiting->info.si_overrun += 1 + frame.info.si_overrun;
    if (merges && signal >= kFirstRealTime) return;              // the node's kernel would queue it
    if (!merges) p->signals.push_back({frame.tid, frame.info});
    p->last_signal[signal] = frame.info;
    long sent =
        frame.tid.value ? syscall(SYS_tgkill, p->pid.value, frame.tid.value, signal) : kill(p->pid.value, signal);
    if (sent < 0 && !merges) p->signals.pop_back();
}

void Worker::on_kill(const KillFrame& frame) {
    if (auto p = guests_.process(frame.pid)) return kill_guest(*p);
    // Its image was still waiting for files: nothing of it runs.
    if (restores_.erase(frame.pid))
        link_.send(FrameType::gone, 0, GoneFrame{.pid = frame.pid, .wait_status = SIGKILL});
    else if (clone_)
        early_kills_.push_back(frame.pid);
}

// A new process gets what home had to say to it before it was born here.
void Worker::catch_up(Process& p) {
    for (auto& frame : std::exchange(early_signals_, {})) {
        if (frame.pid == p.pid) on_signal(frame);
        else if (clone_) early_signals_.push_back(frame);
    }
    if (std::erase(early_kills_, p.pid)) kill_guest(p);
    for (auto& frame : std::exchange(early_freezes_, {})) {
        if (frame.pid == p.pid) on_freeze(frame);
        else if (clone_) early_freezes_.push_back(frame);
    }
    for (auto& frame : std::exchange(early_comes_, {})) {
        if (frame.pid == p.pid) on_come(frame);
        else if (clone_) early_comes_.push_back(frame);
    }
    if (!clone_) early_kills_.clear();
    for (auto& frame : std::exchange(early_scheduling_, {})) on_scheduling(frame);
}

// Job control at home: the deputy really stops, its guest is held. Threads that wait for home's answer stop when it
// comes; so does the deputy's own call, natively.
void Worker::on_freeze(const FreezeFrame& frame) {
    auto p = guests_.process(frame.pid);
    if (!p && clone_) early_freezes_.push_back(frame);
    if (!p || p->frozen == frame.frozen) return;
    OMX_DEBUG("{}: {}", p->pid.value, frame.frozen ? "frozen" : "thawed");
    p->frozen = frame.frozen;
    for (pid_t tid : p->threads) {
        auto t = guests_.thread(HomeTid(tid));
        if (p->frozen) tracee::interrupt(t->tid);
        else if (auto how = std::exchange(t->held, std::nullopt)) resume(*t, *how);
    }
}

// ---- stops ----

// What home said of a signal that we have sent, in place of what the kernel says. False: it is somebody else's.
bool Worker::real_siginfo(Process& p, HomeTid wanted, siginfo_t& info) {
    int signal = info.si_signo;
    if (!ours(info)) return false;
    auto it = std::ranges::find_if(p.signals, [&](auto& s) { return s.info.si_signo == signal && s.tid == wanted; });
    if (it == p.signals.end()) {
        info = p.last_signal[signal];
        return true;
    }
    info = it->info;
    p.signals.erase(it);
    return true;
}

// A signal is about to be delivered to this thread.
void Worker::on_delivery(Thread& t, int signal) {
    auto& p = *t.process;
    siginfo_t info{};
    if (tracee::signal_info(t.tid, info) &&
        real_siginfo(p, info.si_code == SI_TKILL ? t.tid : HomeTid(), info)) {
        tracee::set_signal_info(t.tid, info);
        note_overrun(p, info);
        OMX_DEBUG("{}: gets signal {}", t.tid.value, signal);
    }
    if (island_holds_back(t, signal, info)) return resume(t);
    if (needs_homes_cpu(t, signal, info)) return rest(t, {PTRACE_CONT, signal});
    t.goes_on_waiting = false;
    if (user_regs_struct regs; t.masked_args && tracee::registers(t.tid, regs) && regs.orig_rax == SYS_rt_sigsuspend) {
        auto args = *std::exchange(t.masked_args, std::nullopt);
        regs.rdi = args[0], regs.rsi = args[1];
        tracee::set_registers(t.tid, regs);
    }
    begin_again_what_never_began(t);
    // A step into a handler ends before its first instruction.
    t.entering_handler = true;
    resume(t, {PTRACE_SINGLESTEP, signal});
}

// A program may know by other ways than CPUID what home's CPU can do: /proc/cpuinfo, a file, how it was built. What
// this CPU doesn't know is tried again at home, which then says what it is.
bool Worker::needs_homes_cpu(Thread& t, int signal, const siginfo_t& info) {
    auto& p = *t.process;
    if (signal != SIGILL || info.si_code <= 0 || setup_.lacking.empty() || p.homing || p.killed) return false;
    constexpr std::array<std::byte, 2> kNeverAnInstruction{std::byte{0x0f}, std::byte{0x0b}};      // ud2
    std::array<std::byte, 2> bytes{};
    p.memory.through(t.tid);
    if (p.memory.read(GuestAddr(reinterpret_cast<uint64_t>(info.si_addr)), bytes) == bytes.size() &&
        bytes == kNeverAnInstruction)
        return false;
    auto reason = fmt::format("an instruction that this node's CPU doesn't know (it lacks {})", setup_.lacking);
    bring_home(p, reason, "SIGILL");
    return true;
}

// A signal that comes between a call and our taking its notification ends that natively with -ERESTARTSYS, and the
// handler's flags would decide whether the program sees EINTR, even from a call that can't give it. But nothing has
// begun: it is made anew behind the handler.
void Worker::begin_again_what_never_began(Thread& t) {
    bool ours = std::exchange(t.restart_is_ours, false);
    user_regs_struct regs;
    if (ours || t.call.id || !tracee::registers(t.tid, regs)) return;
    if (static_cast<int64_t>(regs.orig_rax) < 0 || static_cast<int64_t>(regs.rax) != -abi::kErestartSys) return;
    CallArgs args{regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9};
    auto row = find_row(static_cast<uint32_t>(regs.orig_rax));
    bool noted = row && row->noted;                    // the kernel's own sleep says so by another code
    if (!noted && place_of(static_cast<uint32_t>(regs.orig_rax), args).place == Place::local) return;
    regs.rax = static_cast<uint64_t>(-int64_t{abi::kErestartNoIntr});
    tracee::set_registers(t.tid, regs);
}

// ---- masks ----

// A handler has a mask of its own, which the kernel sets and rt_sigreturn takes back. As long as the handler makes no
// call that leaves, home needs to know nothing: what it sends meanwhile is pending here and handled in time. But a call
// must find home's half with the same mask, or sigpending, signalfd and sigtimedwait would miss what is blocked,
// waiting would end too soon, and children and executed programs would have another mask. So it is told ahead of such
// a call; and if home's mask is not what rt_sigreturn sets, because it was told or because the handler changed it for
// its own use, home's is set first, as by the call that it natively is: what was pending there comes before the answer.
void Worker::on_handler_entered(Thread& t) {
    if (ptrace(PTRACE_GETSIGMASK, t.tid.value, sizeof t.mask, &t.mask) == 0)
        OMX_DEBUG("{}: in a handler with mask {:#x}", t.tid.value, t.mask);
    if (t.mask != t.mask_at_home) turn_lane_off(*t.process);       // its first call comes by us: tell_mask
    resume(t);
}

void Worker::on_sigreturn(Thread& t) {
    // The kernel forgets our interrupt for a ping at whichever stop comes next. Other calls that home then has begun anew
    // bring another one, this one doesn't.
    tell_signals_are_here(*t.process);
    GuestAddr at(t.at_stop.rsp + offsetof(ucontext_t, uc_sigmask));
    uint64_t mask = 0;
    auto& memory = t.process->memory;
    memory.through(t.tid);
    if (memory.read(at, std::as_writable_bytes(std::span(&mask, 1))) != sizeof mask) return resume(t);   // it will die
    t.mask = mask & ~kNeverBlocked;
    if (t.mask == t.mask_at_home) return resume(t);
    forward(t, 0, SYS_rt_sigprocmask, {SIG_SETMASK, at.value, 0, sizeof mask});
}

// A C library, or a language's runtime, blocks every signal, its own too, while it makes a thread or a process or ends
// one, and then puts back the mask that was there. Nobody looks at pending signals or waits for one in between, so home
// needs no word of it: what comes meanwhile is pending here, and handled at the end. A mask that a program has chosen
// is told (F2).
bool Worker::hides_from_signals(const Thread& t) { return is_a_librarys(t.mask); }

// True: the node's kernel does this rt_sigprocmask alone. A lane's calls would not tell the mask.
bool Worker::mask_stays_here(Thread& t, const CallArgs& args) {
    if (args[3] != sizeof(uint64_t) || t.process->lane.state == GuestLane::State::on) return false;
    auto mask = mask_to_be(t, args);
    if (!mask || (*mask != t.mask_at_home && !is_a_librarys(*mask)) || (t.mask_at_home & ~*mask)) return false;
    t.mask = *mask;
    return true;
}

// Blocking more needs no answer: the link keeps the order.
void Worker::tell_mask(Thread& t) {
    if (t.mask == t.mask_at_home) return;
    t.mask_at_home = t.mask;
    link_.send(FrameType::mask, 0, MaskFrame{t.tid, t.mask});
}

// Home's half has made this rt_sigprocmask, and ours follows.
void Worker::follow_mask(Thread& t, const CallArgs& args) {
    if (auto mask = mask_to_be(t, args)) t.mask = t.mask_at_home = *mask;
}

// By the arguments of an rt_sigprocmask. nullopt: it doesn't set it.
std::optional<uint64_t> Worker::mask_to_be(Thread& t, const CallArgs& args) {
    uint64_t set = 0;
    GuestAddr at(args[1]);
    auto& memory = t.process->memory;
    memory.through(t.tid);
    if (at.null() || memory.read(at, std::as_writable_bytes(std::span(&set, 1))) != sizeof set) return std::nullopt;
    switch (static_cast<int>(args[0])) {
        case SIG_BLOCK: return (t.mask | set) & ~kNeverBlocked;
        case SIG_UNBLOCK: return t.mask & ~set;
        case SIG_SETMASK: return set & ~kNeverBlocked;
        default: return std::nullopt;
    }
}

// ---- stops of ours ----

// Our own PTRACE_INTERRUPT: for a freeze, or to make the kernel restart an interrupted call.
void Worker::on_interrupted(Thread& t) {
    if (t.process->lane.has_island) on_lane_stop(t);
    if (t.process->homing) return rest(t, {});
    if (t.lazy_mapping) return begin_lazy_mapping(t);
    if (auto mask = std::exchange(t.temporary_mask, std::nullopt); mask && signal_waits(t, *mask)) become_sigsuspend(t);
    resume(t);
}

// ---- interrupted calls ----

void Worker::interrupt_call(Thread& t, const GuestCall& call, int restart_class) {
    // 516 would make the kernel resume a restart block that this thread never had. Its meaning is EINTR if a handler
    // runs, else go on waiting: 514 says that too, and put_in_time_left for how long.
    if (restart_class == abi::kErestartBlock) restart_class = abi::kErestartNoHand;
    t.goes_on_waiting = true;
    t.restart_is_ours = restart_class == abi::kErestartSys;
    t.temporary_mask = temporary_mask(t, call);
    tracee::interrupt(t.tid);
    t.process->listener->answer(call.notification, -restart_class);
}

// A signal that home believes to be handled waits here, because it met a call that was on its way already. Were its mask
// changed now, or waited for it at home, nobody would ever handle it: it would be pending here, and not there (F2).
bool Worker::signal_comes_first(Thread& t, const GuestCall& call) {
    auto& p = *t.process;
    if (p.signals.empty()) return false;
    TaskStatus own(t.tid);
    auto mask = call.nr == SYS_rt_sigprocmask ? std::optional(own.mask("SigBlk")) : temporary_mask(t, call);
    return mask && (own.pending() & ~*mask);
}

// Home gives 516 for poll only: nanosleep and futex are local, and select and ppoll write what remains of their
// time-outs into memory, where the repeated call finds it. poll has its time-out in a register, and the repeated call
// is the one that the thread makes next if no handler has run: it asks home for the rest.
void Worker::put_in_time_left(Thread& t, uint32_t nr, CallArgs& args) {
    using namespace std::chrono;
    bool again = std::exchange(t.goes_on_waiting, false);
    auto timeout = static_cast<int32_t>(args[2]);
    if (nr != SYS_poll || timeout <= 0) return;
    auto now = steady_clock::now();
    if (!again) t.wait_until = now + milliseconds(timeout);
    else args[2] = static_cast<uint64_t>(std::max<int64_t>(0, ceil<milliseconds>(t.wait_until - now).count()));
}

// Calls that wait under a mask of their own: the signal that interrupted it at home is blocked in the thread's real
// mask here, so that a plain restart would never run the handler (D).
std::optional<uint64_t> Worker::temporary_mask(Thread& t, const GuestCall& call) {
    GuestAddr at;
    auto& memory = t.process->memory;
    memory.through(t.tid);
    switch (call.nr) {
        case SYS_rt_sigsuspend: at = GuestAddr(call.args[0]); break;
        case SYS_ppoll: at = GuestAddr(call.args[3]); break;
        case SYS_epoll_pwait: case SYS_epoll_pwait2: at = GuestAddr(call.args[4]); break;
        case SYS_pselect6: case SYS_io_pgetevents: {
            uint64_t pointer = 0;
            if (!call.args[5] ||
                memory.read(GuestAddr(call.args[5]), std::as_writable_bytes(std::span(&pointer, 1))) != sizeof pointer)
                return std::nullopt;
            at = GuestAddr(pointer);
            break;
        }
        default: return std::nullopt;
    }
    uint64_t mask = 0;
    if (at.null() || memory.read(at, std::as_writable_bytes(std::span(&mask, 1))) != sizeof mask) return std::nullopt;
    t.mask_address = at;
    return mask;
}

// True if a signal is pending that only the call's mask lets through and that no other thread is about to take. What
// the thread's own mask lets through needs no help: the kernel runs its handler and ends the call with EINTR.
bool Worker::signal_waits(const Thread& t, uint64_t mask) {
    auto& p = *t.process;
    TaskStatus own(t.tid);
    uint64_t let_through = own.mask("SigBlk") & ~mask;
    if (own.mask("SigPnd") & let_through) return true;
    uint64_t shared = own.mask("ShdPnd") & let_through;
    for (pid_t tid : p.threads)
        if (shared && HomeTid(tid) != t.tid) shared &= TaskStatus(HomeTid(tid)).mask("SigBlk");
    return shared != 0;
}

// The thread stands behind its interrupted call. Put in front of it again, as rt_sigsuspend(mask): natively, with the
// signal pending, that runs the handler under the mask, puts the old one back and returns EINTR.
void Worker::become_sigsuspend(Thread& t) {
    user_regs_struct regs;
    if (!tracee::registers(t.tid, regs) || static_cast<int64_t>(regs.orig_rax) < 0) return;
    auto code = -static_cast<int64_t>(regs.rax);
    if (code != abi::kErestartSys && code != abi::kErestartNoHand && code != abi::kErestartNoIntr) return;
    t.masked_args = CallArgs{regs.rdi, regs.rsi};
    regs.rax = SYS_rt_sigsuspend;
    regs.orig_rax = ~uint64_t{0};
    regs.rip -= 2;
    regs.rdi = t.mask_address.value;
    regs.rsi = sizeof(uint64_t);
    OMX_DEBUG("{}: goes on as rt_sigsuspend", t.tid.value);
    tracee::set_registers(t.tid, regs);
}

}  // namespace omx
