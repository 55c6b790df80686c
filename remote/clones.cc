// New threads and processes. Home's half is made first; its number is then given to the guest's half by writing
// ns_last_pid just before the node's kernel makes it. That is a race by nature (F10): so one clone at a time, from the
// write to the child's first stop, and the number is checked before the child runs.
//
// A child process is cloned with CLONE_PARENT, so that it is the worker's to reap and never signals a guest natively: a
// guest waits for its children at home. (With CLONE_PARENT the kernel takes the exit signal from the caller's own,
// which exec of the stub has made SIGCHLD: the worker hears of every end.)
#include "remote/debug.h"
#include "remote/worker.h"
#include <algorithm>
#include <csignal>
#include <sched.h>
#include <sys/syscall.h>

namespace omx {
namespace {

constexpr int kMaxAttempts = 5;
constexpr uint64_t kRedZoneBytes = 128, kCloneArgsOldestBytes = 64;
// Never natively: they would hide the child from us, or are asked of home, as its descriptor is.
constexpr uint64_t kStripped = CLONE_UNTRACED | CLONE_PTRACE | CLONE_PIDFD;

bool get_mask(HomeTid tid, uint64_t& mask) { return ptrace(PTRACE_GETSIGMASK, tid.value, sizeof mask, &mask) == 0; }
bool set_mask(HomeTid tid, uint64_t mask) { return ptrace(PTRACE_SETSIGMASK, tid.value, sizeof mask, &mask) == 0; }

abi::CloneArgs legacy(uint64_t flags, uint64_t stack = 0, uint64_t parent_tid = 0, uint64_t child_tid = 0,
                      uint64_t tls = 0) {
    abi::CloneArgs args{};
    args.flags = flags & 0xffffff00u;
    args.exit_signal = flags & 0xff;
    args.stack = stack;
    args.pidfd = args.parent_tid = parent_tid;           // clone(2) has one argument for both
    args.child_tid = child_tid;
    args.tls = tls;
    return args;
}

}  // namespace

// The struct of a clone3, in the kernel's own order of complaints: too small, too big, not readable. 0: fine, else an
// errno.
int Worker::read_clone_args(Thread& t, abi::CloneArgs& args) {
    auto& r = t.at_stop;
    std::array<std::byte, 4096> raw{};
    if (r.rsi < kCloneArgsOldestBytes) return EINVAL;
    if (r.rsi > raw.size()) return E2BIG;
    t.process->memory.through(t.tid);
    if (t.process->memory.read(GuestAddr(r.rdi), std::span(raw).first(r.rsi)) != r.rsi) return EFAULT;
    std::memcpy(&args, raw.data(), sizeof args);
    bool newer_words = std::any_of(raw.begin() + sizeof args, raw.end(), [](std::byte b) { return b != std::byte{0}; });
    return newer_words ? E2BIG : 0;
}

// The same words for whichever of the four calls it is. nullopt: the call is over.
std::optional<Worker::Clone> Worker::read_clone(Thread& t) {
    auto& r = t.at_stop;
    Clone c{.caller = t.tid};
    switch (r.orig_rax) {
        case SYS_fork: c.args = legacy(SIGCHLD); break;
        case SYS_vfork: c.args = legacy(CLONE_VM | CLONE_VFORK | SIGCHLD); break;
        case SYS_clone: c.args = legacy(r.rdi, r.rsi, r.rdx, r.r10, r.r8); break;
        default:
            if (int error = read_clone_args(t, c.args)) {
                skip_held_call(t, -error);
                return std::nullopt;
            }
    }
    c.flags = c.args.flags | c.args.exit_signal;
    c.is_thread = c.args.flags & CLONE_THREAD;
    return c;
}

// What the kernel says of the place where the child's descriptor is to be told; 0: fine.
int Worker::cannot_tell_pidfd(Thread& t, const abi::CloneArgs& args) {
    if (!(args.flags & CLONE_PIDFD)) return 0;
    if ((args.flags & CLONE_PARENT_SETTID) && args.pidfd == args.parent_tid) return EINVAL;
    t.process->memory.through(t.tid);
    return t.process->memory.writable(GuestAddr(args.pidfd), sizeof(int32_t)) == sizeof(int32_t) ? 0 : EFAULT;
}

void Worker::request_clone(Thread& t) {
    auto c = read_clone(t);
    if (!c) return;
    CallArgs asked{c->flags};
    auto placement = place_of(SYS_clone, asked);
    if (placement.place != Place::life) return go_home_for(t, 0, SYS_clone, asked, placement.why);
    if (int error = cannot_tell_pidfd(t, c->args)) return skip_held_call(t, -error);
    if (c->args.set_tid_size)
        return go_home_for(t, 0, SYS_clone, asked, "set_tid chooses a number that home must agree with");
    if (clone_ && clone_->caller == t.tid) return run_clone(t);          // it was interrupted before it began
    if (!hides_from_signals(t)) tell_mask(t);
    clones_waiting_.push_back(t.tid);
    start_next_clone();
}

void Worker::start_next_clone() {
    while (!clone_ && !clones_waiting_.empty()) {
        auto t = guests_.thread(clones_waiting_.front());
        clones_waiting_.pop_front();
        if (!t || t->process->killed) continue;
        clone_ = read_clone(*t);
        if (!clone_) continue;
        // Home needs flags and exit signal only: memory, stack and TLS are the guest's.
        forward(*t, 0, SYS_clone, {clone_->flags});
        clone_->call = t->call.id;
    }
}

void Worker::on_clone_reply(Thread& t, const Reply& reply) {
    if (!clone_ || clone_->caller != t.tid) return link_ended({"home answered a clone that nobody asked for", EPROTO});
    if (reply.head.restart || reply.head.result <= 0) {
        clone_.reset();
        if (reply.head.restart) rerun_held_call(t);
        else skip_held_call(t, reply.head.result);
        return clone_over();
    }
    clone_->number = HomeTid(static_cast<pid_t>(reply.head.result));
    if (clone_->flags & CLONE_PIDFD) {
        Reader r(reply.attachment);
        clone_->pidfd = r.get<int32_t>();
        if (!r.finished()) return link_ended({"home's answer to a clone lacks the child's descriptor", EPROTO});
    }
    run_clone(t);
}

void Worker::run_clone(Thread& t) {
    auto& c = *clone_;
    // Home may give out a number again while the guest's half of its last owner is still on its way out.
    c.waits_for_number = guests_.thread(c.number) != nullptr;
    if (c.waits_for_number) return;
    auto regs = t.at_stop;
    bool ready = c.is_thread ? true : rewrite_for_process(t, regs);
    if (!ready) return lose(*t.process, SYS_clone, {c.flags}, "the caller's stack is not writable");
    if (c.is_thread && regs.orig_rax == SYS_clone) regs.rdi &= ~kStripped;
    // A pending signal would make the kernel's clone return early, after home's has succeeded: signals wait meanwhile.
    if (!get_mask(t.tid, c.mask) || !set_mask(t.tid, ~uint64_t{0}) || !tracee::set_registers(t.tid, regs)) return;
    if (auto chosen = choose_next_id(setup_.ns_last_pid.get(), c.number.value); !chosen)
        return lose(*t.process, SYS_clone, {c.flags}, chosen.error().what);
    turn_lane_off(*t.process);
    c.running = true;
    run_to_its_end(t);
}

// To the clone event, or to the end of the call if there is none. Even if its process is frozen: everybody else's
// clones wait for this one, and both caller and child stop right behind it.
void Worker::run_to_its_end(Thread& t) { tracee::request(PTRACE_SYSCALL, t.tid); }

// fork, vfork and clone3 become clone; what clone can't say stays a clone3 with a struct of ours.
bool Worker::rewrite_for_process(Thread& t, user_regs_struct& regs) {
    auto args = clone_->args;
    args.flags = (args.flags & ~kStripped) | CLONE_PARENT;
    args.exit_signal = 0;
    if (args.flags >> 32 == 0) {
        regs.orig_rax = SYS_clone;
        regs.rdi = args.flags;
        regs.rsi = args.stack ? args.stack + args.stack_size : 0;
        regs.rdx = args.parent_tid;
        regs.r10 = args.child_tid;
        regs.r8 = args.tls;
        return true;
    }
    regs.rdi = (regs.rsp - kRedZoneBytes - sizeof args) & ~uint64_t{15};
    regs.rsi = sizeof args;
    auto& memory = t.process->memory;
    memory.through(t.tid);
    return memory.write(GuestAddr(regs.rdi), std::as_bytes(std::span(&args, 1))) == sizeof args;
}

// ---- what the kernel made of it ----

void Worker::on_clone_event(Thread& t) {
    unsigned long child = 0;
    if (!clone_ || clone_->caller != t.tid || !tracee::event_message(t.tid, child)) return resume(t);
    clone_->event_child = HomeTid(static_cast<pid_t>(child));
    finish_clone_if_ready();
}

// The first stop of a task that nobody knows yet: only a clone of a guest makes one.
void Worker::on_unknown_stop(HomeTid tid, int status) {
    OMX_DEBUG("{}: first stop, status {:#x}", tid.value, status);
    if (!clone_ || !clone_->running) { kill(tid.value, SIGKILL); return; }
    clone_->stopped_child = tid;
    finish_clone_if_ready();
}

void Worker::finish_clone_if_ready() {
    auto c = *clone_;
    if (c.event_child == HomeTid() || c.event_child != c.stopped_child) return;
    auto caller = guests_.thread(c.caller);
    if (!caller) return;                               // being killed: its end comes next
    if (c.event_child != c.number) return wrong_number(*caller);
    auto& parent = *caller->process;
    auto& p = c.is_thread ? parent : guests_.add_process(HomePid(c.number.value));
    auto& child = guests_.add_thread(p, c.number);
    child.mask = caller->mask, child.mask_at_home = caller->mask_at_home;
    if (!c.is_thread) {
        ended_use_.erase(p.pid);                       // another process's, which nobody will wait for any more
        p.stage = Process::Stage::running;
        p.listener = parent.listener;
        if (c.args.flags & CLONE_VM) p.space = parent.space;
        if ((c.args.flags & CLONE_VM) && (c.args.flags & CLONE_VFORK)) p.lender = parent.pid;
        p.memory.replaced(p.space);
        if (!setup_.procmap_query) p.memory.never_query();
        p.ours = parent.ours, p.system_call = parent.system_call, p.clocks = parent.clocks;
        p.installed =
            c.args.flags & CLONE_FILES ? parent.installed : std::make_shared<InstalledFiles>(*parent.installed);
        bool apart = !(c.args.flags & (CLONE_VM | CLONE_FILES));
        p.lane = parent.lane.of_child(apart);
        parent.lane.may_share = true;
        if (!apart && !(c.args.flags & CLONE_VFORK)) parent.lane.alone = false;
    }
    // Both go on as if the call had been made as it was written: libc keeps values in the argument registers.
    user_regs_struct regs;
    if (tracee::registers(c.number, regs)) {
        tracee::restore_arguments(regs, caller->at_stop);
        tracee::set_registers(c.number, regs);
    }
    if (tracee::registers(c.caller, regs)) {
        tracee::restore_arguments(regs, caller->at_stop);
        tracee::set_registers(c.caller, regs);
    }
    if (c.args.flags & CLONE_PIDFD) {                  // a child with a copy of the memory doesn't get to see it
        parent.memory.through(c.caller);
        parent.memory.write(GuestAddr(c.args.pidfd), std::as_bytes(std::span(&c.pidfd, 1)));
    }
    set_mask(c.number, c.mask);
    set_mask(c.caller, c.mask);
    OMX_DEBUG("{}: made {} {}", c.caller.value, c.is_thread ? "thread" : "process", c.number.value);
    clone_.reset();
    catch_up(p);
    if (!c.is_thread) join_homing(parent, p);
    if (p.space == parent.space || !watch_childs_mappings(child, parent.space)) resume(child);
    if (parent.homing) rest_behind_call(*caller);
    else resume(*caller);
    clone_over();
}

// Somebody else got the number. The child has not run: it goes, and the caller tries again.
void Worker::wrong_number(Thread& caller) {
    auto& c = *clone_;
    OMX_DEBUG("{}: clone made {} instead of {}", caller.tid.value, c.event_child.value, c.number.value);
    if (c.is_thread || ++c.attempts > kMaxAttempts) {
        kill(c.event_child.value, SIGKILL);
        return lose(*caller.process, SYS_clone, {c.flags},
                    fmt::format("the number {} is taken on this node", c.number.value));
    }
    kill(c.event_child.value, SIGKILL);
    c.event_child = c.stopped_child = HomeTid();
    run_to_its_end(caller);
}

// At the end of a clone that made no child (the node's limits), that was interrupted, or whose child had a wrong
// number; of an exec of the stub that failed; or of a wait whose moment we have rewritten.
void Worker::on_call_end_stop(Thread& t) {
    if (t.lent_moment) return timed_call_over(t);
    user_regs_struct regs;
    if (!tracee::registers(t.tid, regs)) return;
    if (auto it = restores_.find(t.process->pid); it != restores_.end() && it->second->is_exec)
        return image_failed(t.process->pid,
                            fmt::format("can't execute the stub: {}", std::strerror(static_cast<int>(-regs.rax))));
    if (!clone_ || clone_->caller != t.tid) return resume(t);
    auto result = static_cast<int64_t>(regs.rax);
    OMX_DEBUG("{}: clone ended natively with {}", t.tid.value, result);
    if (result > 0 || result == -abi::kErestartNoIntr) {        // signals are still blocked: straight to its TRACE stop
        clone_->running = false;
        set_mask(t.tid, clone_->mask);
        put_in_front_of_held_call(t);
        // Home's half has been made: this one is made before its process comes to rest.
        if (!t.process->homing) resume(t);
        else tracee::request(PTRACE_CONT, t.tid);
        return;
    }
    set_mask(t.tid, clone_->mask);
    undo_home_clone();
    clone_.reset();
    skip_held_call(t, result);
    clone_over();
}

// Home's half exists, the node's could not be made. The caller gets the node's errno; home's child ends at once, and
// home lets nobody see that (F20). With CLONE_PARENT its parent is not a process whose calls home could hold meanwhile:
// that one sees a child that has exited with 0.
void Worker::undo_home_clone() {
    auto& c = *clone_;
    HomePid child(c.number.value);
    if (!c.is_thread && (c.args.flags & CLONE_PARENT))
        return link_.send(FrameType::gone, 0, GoneFrame{.pid = child});
    if (!c.is_thread) return link_.send(FrameType::undo, 0, UndoFrame{child, c.caller});
    tell_exit(c.number, 0);
}

// The answer to a clone whose caller has ended meanwhile: nobody here will ever be the child that home has made.
void Worker::undo_lost_clone(HomeTid caller, View reply) {
    GuestProcess nobody;
    auto answer = apply_reply(reply, SYS_clone, {}, nobody.memory);
    if (!answer || answer->head.restart || answer->head.result <= 0) return;
    link_.send(FrameType::undo, 0, UndoFrame{HomePid(static_cast<pid_t>(answer->head.result)), caller});
}

// A clone has ended one way or another: who waited for it may go on.
void Worker::clone_over() {
    start_waiting_stubs();
    start_next_clone();
}

// A thread has ended: perhaps the one whose clone was on its way, or the one whose number it waits for.
void Worker::clone_lost_thread(HomeTid tid) {
    clone_lost_caller(tid);
    if (clone_ && clone_->waits_for_number && clone_->number == tid)
        if (auto t = guests_.thread(clone_->caller)) run_clone(*t);
}

// Killed in the middle, or by an exec, after which somebody else has a leader's number.
void Worker::clone_lost_caller(HomeTid tid) {
    std::erase(clones_waiting_, tid);
    if (!clone_ || clone_->caller != tid) return;
    auto& c = *clone_;
    auto child = c.event_child != HomeTid() ? c.event_child : c.stopped_child;
    OMX_DEBUG("{}: ended during its clone of {}", tid.value, c.number.value);
    if (child != HomeTid()) kill(child.value, SIGKILL);
    if (c.number != HomeTid()) undo_home_clone();
    else if (!c.is_thread) lost_clones_.insert(c.call);
    clone_.reset();
    clone_over();
}

}  // namespace omx
