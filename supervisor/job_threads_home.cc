// The threads of a process that has come home: each leaves the blob for its own registers, one that is in a call when
// that is over. What only a thread itself can set is set by operations in its slot, the rest at the stop behind them.
#include <elf.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <algorithm>

#include "remote/guest_process_memory.h"
#include "supervisor/job.h"

namespace omx {

using namespace std::chrono;

namespace {
constexpr size_t kSignalsPerPost = 16;
using Ops = std::vector<SlotOp>;
using Step = Homecoming::Step;

// Of a process that has closed itself again: by what was opened before.
class OpenedMemory : public GuestMemory {
public:
    explicit OpenedMemory(int fd) : fd_(fd) {}
    size_t read(GuestAddr from, std::span<std::byte> out) override {
        return moved(pread(fd_, out.data(), out.size(), static_cast<off_t>(from.value)));
    }
    size_t write(GuestAddr to, View in) override {
        return moved(pwrite(fd_, in.data(), in.size(), static_cast<off_t>(to.value)));
    }
    size_t writable(GuestAddr, size_t bytes) override { return bytes; }

private:
    static size_t moved(ssize_t n) { return n > 0 ? static_cast<size_t>(n) : 0; }
    int fd_;
};

// The memory of a process that has come home, for what its calls still bring.
std::unique_ptr<GuestMemory> memory_of(const DeputyThread& t) {
    if (auto& opened = t.process->homecoming->memory) return std::make_unique<OpenedMemory>(opened.get());
    auto memory = std::make_unique<ProcessMemory>();
    memory->through(t.tid);
    return memory;
}
}  // namespace

// A deputy thread of such a process has done what it was posted: a call that goes on here while its thread is on the
// way, or operations of ours.
void Job::collect_at_home(Thread& t) {
    auto& p = *t.process;
    auto& h = *p.homecoming;
    bool ours = !t.active_for_guest();
    if (ours || t.sleeps_until) t.active.reset();
    else keep_result(t);
    if (h.step == Step::threads) return go_back(t);
    if (h.step == Step::announced) return make_room(p);
    if (ours && h.step == Step::mapping && t.tid == h.lead) lead_done(p);
}

// What a call has brought, as the node would have got it: its thread is free for other work, and the memory for it may
// not be here yet.
void Job::keep_result(Thread& t) {
    auto active = std::move(*t.active);
    t.active.reset();
    t.held_reply.reset();
    auto& kept = t.late_reply.emplace();
    kept.nr = active.call.nr;
    kept.time_left = time_left_of(active);
    Writer w(kept.body);
    // What was asked of the node about another process's memory is read anew, at home.
    encode_reply(active.call, active.proc ? ReplyHead{-EINTR, 513} : head_of(t, active), w);
}

// What the call of a thread has brought goes where it belongs, and its registers say so.
void Job::finish_call_at_home(Thread& t, ThreadState& s) {
    auto late = *std::exchange(t.late_reply, std::nullopt);
    if (s.call == 0) return;  // its answer has reached the node
    auto applied = apply_reply(View(late.body), late.nr, {}, *memory_of(t));
    OMX_CHECK(applied, "applying a reply of our own");
    auto head = applied->head;
    // 516 would make this kernel resume the call with the deputy's arguments: 514 begins it anew with the guest's.
    auto restart = head.restart == 516 ? 514 : head.restart;
    s.regs.rax = static_cast<uint64_t>(restart ? -int64_t{restart} : head.result);
    if (!restart) s.regs.orig_rax = ~uint64_t{0};
    if (late.time_left) (late.time_left->argument == 2 ? s.regs.rdx : s.regs.r10) = late.time_left->value;
}

// Time goes on while memory travels.
void Job::note_sleeps(Process& p) {
    for (auto& s : p.homecoming->image->threads)
        if (auto t = thread(s.tid); s.sleep_ns && t && t->process == &p)
            t->sleeps_until = steady_clock::now() + nanoseconds(s.sleep_ns);
}

// A sleep goes on like every call in flight, in the deputy: it can't be given back to the kernel half done. False: it is
// over, or a signal has ended it, and the registers say so.
bool Job::sleeps_on(Thread& t, ThreadState& s) {
    if (!t.sleeps_until) return false;
    auto& h = *t.process->homecoming;
    auto for_it = [&](const PendingSignal& signal) {
        bool mine = signal.tid == t.tid || (t.tid == h.lead && signal.tid == HomeTid());
        return mine && !(s.blocked >> (signal.info.si_signo - 1) & 1);
    };
    auto left = *t.sleeps_until - steady_clock::now();
    bool over = left <= nanoseconds(0);
    bool woken = std::ranges::any_of(h.image->pending, for_it) || std::ranges::any_of(h.signals, for_it);
    auto split = [](auto time) {
        return timespec{.tv_sec = time / seconds(1), .tv_nsec = (time % seconds(1)) / nanoseconds(1)};
    };
    if (!over && !woken) {
        auto until = split(t.sleeps_until->time_since_epoch());
        auto at = own_data(t, &until, sizeof until);
        t.active.emplace();
        t.active->from.id = UINT64_MAX;  // so that a signal ends it like a guest's call
        post(t, {op(SYS_clock_nanosleep, {CLOCK_MONOTONIC, TIMER_ABSTIME, at, 0}, OMX_OP_GUEST_CALL)}, true);
        return true;
    }
    t.sleeps_until.reset();
    if (over) {
        s.regs.rax = 0, s.regs.orig_rax = ~uint64_t{0};
    } else if (s.sleep_rest) {  // the handler that runs first makes it EINTR
        auto rest = split(left);
        memory_of(t)->write(GuestAddr(s.sleep_rest), std::as_bytes(std::span(&rest, 1)));
    }
    return false;
}

// An idle thread of the deputy becomes the process's own again: what only it can set is set by operations, the rest at
// the stop behind them (leave_blob).
void Job::go_back(Thread& t) {
    auto& p = *t.process;
    auto& h = *p.homecoming;
    t.waiting.reset();  // a call that hadn't begun begins anew by itself
    auto& s = *h.state_of(t.tid);
    if (t.late_reply) finish_call_at_home(t, s);
    if (sleeps_on(t, s)) return;
    t.new_mask.reset();
    struct {
        uint64_t all = ~(uint64_t{1} << (SIGTRAP - 1));  // an int3 ends the operations: see mend_trap
        stack_t stack{};
        siginfo_t signals[kSignalsPerPost];
    } data;
    data.stack.ss_sp = reinterpret_cast<void*>(s.altstack_sp);
    data.stack.ss_size = s.altstack_size;
    data.stack.ss_flags = s.altstack_flags;
    auto place = [at = own_place(t)](size_t offset) { return at + offset; };
    Ops ops{op(SYS_rt_sigprocmask, {SIG_SETMASK, place(offsetof(decltype(data), all)), 0, 8})};
    size_t signals = 0;
    auto queue = [&](std::vector<PendingSignal>& from) {
        std::erase_if(from, [&](auto& signal) {
            bool mine = signal.tid == t.tid || (t.tid == h.lead && signal.tid == HomeTid());
            if (!mine || signals == kSignalsPerPost || signal.info.si_signo == SIGTRAP) return false;
            data.signals[signals] = signal.info;
            auto info = place(offsetof(decltype(data), signals) + signals++ * sizeof(siginfo_t));
            auto number = static_cast<uint64_t>(signal.info.si_signo);
            auto pid = static_cast<uint64_t>(p.pid.value), tid = static_cast<uint64_t>(t.tid.value);
            ops.push_back(signal.tid == HomeTid() ? op(SYS_rt_sigqueueinfo, {pid, number, info})
                                                  : op(SYS_rt_tgsigqueueinfo, {pid, tid, number, info}));
            return true;
        });
    };
    queue(h.image->pending);
    queue(h.signals);
    if (signals < kSignalsPerPost) {  // else once more, and these then
        ops.push_back(op(SYS_sigaltstack, {place(offsetof(decltype(data), stack)), 0}));
        ops.push_back(op(SYS_set_tid_address, {s.clear_child_tid}));
        if (s.robust_list) ops.push_back(op(SYS_set_robust_list, {s.robust_list, s.robust_list_size}));
        if (h.opened && t.tid == h.lead) ops.push_back(op(SYS_prctl, {PR_SET_DUMPABLE, 0}));
        if (s.rseq) ops.push_back(op(SYS_rseq, {s.rseq, s.rseq_size, 0, s.rseq_signature}));
        t.going_home = true;
    }
    own_data(t, &data, sizeof data);
    post_ours(t, ops);
}

// Between being posted its last operations, the first of which blocks everything, and making them it may have met more.
bool Job::met_signals(const Thread& t) {
    auto met = [&](auto& signal) { return signal.tid == t.tid && signal.info.si_signo != SIGTRAP; };
    return std::ranges::any_of(t.process->homecoming->signals, met);
}

// The deputy's operations end by an int3, so that they don't block SIGTRAP, which would come at once and not wait for the
// program. So those that are pending are put back by calls of its own when everything is blocked. False: see make_call.
bool Job::put_traps_back(Thread& t) {
    auto& h = *t.process->homecoming;
    auto offset = tracee::syscall_offset_in_vdso();
    for (auto from : {&h.image->pending, &h.signals})
        for (auto& signal : *from) {
            bool mine = signal.tid == t.tid || (t.tid == h.lead && signal.tid == HomeTid());
            user_regs_struct regs;
            if (!mine || signal.info.si_signo != SIGTRAP || !offset || !tracee::registers(t.tid, regs)) continue;
            auto info = own_data(t, &signal.info, sizeof signal.info);
            auto pid = static_cast<uint64_t>(t.process->pid.value), tid = static_cast<uint64_t>(t.tid.value);
            regs.rip = h.vdso_at + *offset, regs.orig_rax = ~uint64_t{0};
            regs.rdi = pid, regs.rsi = SIGTRAP, regs.rdx = info, regs.rax = SYS_rt_sigqueueinfo;
            if (signal.tid != HomeTid())
                regs.rsi = tid, regs.rdx = SIGTRAP, regs.r10 = info, regs.rax = SYS_rt_tgsigqueueinfo;
            if (!make_call(t.tid, regs)) return false;
        }
    return true;
}

// At the stop behind its last operations: everything else of the thread is set here, and it goes on as itself.
void Job::leave_blob(Thread& t) {
    auto& p = *t.process;
    auto& h = *p.homecoming;
    auto& s = *h.state_of(t.tid);
    t.active.reset();
    t.state = Thread::State::home;
    bool last = std::ranges::all_of(p.threads, [](auto& other) {
        return other.second->state == Thread::State::home || other.second->state == Thread::State::ended;
    });
    auto tid = t.tid;
    tracee::set_signal_mask(tid, ~uint64_t{0});
    if (!put_traps_back(t)) return;
    // Its other threads run already: one may execute another program at any moment, or end the process.
    if (last && !take_blob_away(t)) return;
    // A stop at a call's end would not do: the kernel restarts what was interrupted only where it looks at signals.
    int status = 0;
    if (!tracee::interrupt(tid) || !tracee::resume(tid)) return;
    if (!tracee::wait_stop(tid, status)) return on_thread_ended(tid, status);
    if (tracee::event_of(status) != PTRACE_EVENT_STOP) return on_stop(tid, status);
    Bytes xstate(16384);
    iovec io{xstate.data(), xstate.size()};
    if (!s.xstate.empty() && ptrace(PTRACE_GETREGSET, t.tid.value, NT_X86_XSTATE, &io) == 0) {
        xstate.resize(io.iov_len);
        // A node's CPU has no feature that home's lacks (E), so that its state is a part of ours.
        std::ranges::fill(xstate, std::byte{0});
        std::copy_n(s.xstate.begin(), std::min(s.xstate.size(), xstate.size()), xstate.begin());
        ptrace(PTRACE_SETREGSET, t.tid.value, NT_X86_XSTATE, &io);
    }
    tracee::set_signal_mask(t.tid, s.blocked);
    tracee::set_registers(t.tid, s.regs);
    tracee::die_with_supervisor(t.tid, false);
    bool goes_free = h.call == "ptrace" || h.call == "seccomp" || asked_to_end_ || p.to_be_let_go;
    if (goes_free && p.borrowed) give_back(p, tid);
    if (last) {
        tell_how_far(p);
        p.homecoming.reset();
        p.slots.reset();
        kept_.forget(p.pid);
        if (std::ranges::none_of(processes_, [](auto& other) { return other.second->homecoming != nullptr; }))
            shared_memory_.clear();
    }
    if (!goes_free) return on_event_stop(tid, status);  // it goes on, unless its whole process has been stopped
    let_go(t);
}

// By calls of the thread that is the last in it, from the vDSO. False: see make_call.
bool Job::take_blob_away(Thread& t) {
    auto offset = tracee::syscall_offset_in_vdso();
    auto tid = t.tid;
    auto vdso = t.process->homecoming->vdso_at;
    if (!offset) return true;
    constexpr std::pair<uint64_t, uint64_t> places[] = {
        {OMX_BIG_BASE, OMX_BIG_SPAN}, {OMX_SLOTS_BASE, OMX_SLOTS_SPAN}, {OMX_BLOB_BASE, OMX_BLOB_BYTES}};
    for (auto [at, bytes] : places) {
        user_regs_struct regs;
        if (!tracee::registers(tid, regs)) return false;
        regs.rip = vdso + *offset;
        regs.rax = SYS_munmap, regs.rdi = at, regs.rsi = bytes, regs.orig_rax = ~uint64_t{0};
        if (!make_call(tid, regs)) return false;
    }
    return true;
}

}  // namespace omx
