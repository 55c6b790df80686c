// A guest's call: trapped here, made by its deputy at home, answered here.
#include "protocol/judges.h"
#include "remote/debug.h"
#include "remote/worker.h"
#include <csignal>
#include <sys/syscall.h>

namespace omx {
namespace {

// Replies find their thread without a search of their own: its number is in the call's.
uint64_t call_id(uint64_t counter, HomeTid tid) { return counter << 32 | static_cast<uint32_t>(tid.value); }
HomeTid caller_of(uint64_t id) { return HomeTid(static_cast<pid_t>(id & 0x7fffffff)); }

bool row_is_noted(uint32_t nr) {
    auto row = find_row(nr);
    return row && row->noted;
}

// The argument that says most about why a call can't be served: the command of an ioctl, the option of a prctl.
std::string describe(uint32_t nr, const CallArgs& args) {
    switch (nr) {
        case SYS_ioctl: case SYS_fcntl: return fmt::format("{}(…{:#x})", call_name(nr), args[1]);
        case SYS_prctl:
        case SYS_arch_prctl:
        case SYS_clone:
        case SYS_unshare: return fmt::format("{}({:#x}…)", call_name(nr), args[0]);
        case SYS_mmap:
            return fmt::format("mmap(…{}, {:#x}, {:#x}, {}…)", args[1], args[2], args[3], static_cast<int>(args[4]));
        default: return find_row(nr) ? std::string(call_name(nr)) : fmt::format("system call {}", nr);
    }
}

}  // namespace

void Worker::on_listener(Listener& l) {
    if (take_notification(l)) return;
    // The last task under it is on its way out and will be reaped soon. Until then a listener never stops being
    // readable, and looking at it again and again would keep just that task from its CPU.
    if (l.over()) loop_.unwatch_readable(l.fd());
}

// While calls come in bursts home's answer is nearer than a sleep is short. With several guests' calls on their way there
// is always something to be done: the loop does it, and is asked now and then, for others make calls meanwhile. Calls that
// wait for something (a pipe's data, a child's end) don't count.
Status Worker::spin_for_reply() {
    constexpr unsigned kLooksPerTurn = 16;
    Status fine;
    while (fine && !ended_ && calls_on_the_way_ - long_calls_ == 1) {
        auto frames = link_.counters().frames_in;
        auto news = [&] {
            if (++looks_ % kLooksPerTurn == 0) {
                auto ran = loop_.run_once(0);
                if (!ran) fine = std::unexpected(ran.error());
                if (!ran || *ran) return true;
            }
            on_link();
            return ended_ || link_.counters().frames_in != frames;
        };
        if (spinner_.wait(news)) continue;
        auto t = guests_.thread(last_caller_);
        if (!t || !t->call.id || std::exchange(t->call.is_long, true)) break;
        long_calls_++;
    }
    return fine;
}

// False: nothing was to be taken.
bool Worker::take_notification(Listener& l) {
    auto n = l.receive();
    if (!n) return false;
    HomeTid tid(static_cast<pid_t>(n->pid));
    CallArgs args;
    std::copy_n(n->data.args, args.size(), args.begin());
    auto nr = static_cast<uint32_t>(n->data.nr);
    auto t = guests_.thread(tid);
    if (!t) {                          // can't be: a new thread is held until it is known
        OMX_DEBUG("thread {}: nobody knows it, yet it calls {}", tid.value, nr);
        kill(tid.value, SIGKILL);
        return true;
    }
    if (t->process->killed) return true;                 // it dies without an answer
    if (t->injected) {
        on_injected_call(*t, n->id, nr);
        return true;
    }
    if (t->process->landing) has_landed(*t->process);
    if (nr == OMX_LANE_LEAVE && t->process->lane.state == GuestLane::State::on) {
        on_lane_exit(*t, n->id);
        return true;
    }
    if (t->process->homing) {                            // it begins anew at home
        l.answer(n->id, -abi::kErestartNoIntr);
        return true;
    }
    t->call_site = n->data.instruction_pointer;
    t->maps_shared = 0;
    t->restart_is_ours = false;
    put_in_time_left(*t, nr, args);
    if (t->process->stage != Process::Stage::running) on_stub_call(*t, n->id, nr, args);
    else begin_call(*t, n->id, nr, args);
    return true;
}

void Worker::begin_call(Thread& t, uint64_t notification, uint32_t nr, const CallArgs& args) {
    auto placement = place_of(nr, args);
    OMX_DEBUG("{}: {} {}", t.tid.value, call_name(nr), name(placement.place));
    if (nr == SYS_rt_sigsuspend && t.masked_args && GuestAddr(args[0]) == t.mask_address) {  // ours: become_sigsuspend
        t.process->listener->proceed(notification);
        return;
    }
    GuestCall call{.notification = notification, .nr = nr, .args = args};
    if (signal_comes_first(t, call)) return interrupt_call(t, call, abi::kErestartNoIntr);
    if (nr == SYS_rt_sigprocmask && mask_stays_here(t, args)) {
        t.process->listener->proceed(notification);
        return;
    }
    bool ends = nr == SYS_exit || nr == SYS_exit_group;
    if (placement.place != Place::local && !(ends && hides_from_signals(t))) tell_mask(t);
    switch (placement.place) {
        case Place::local:
            if (row_is_noted(nr)) note_sleep(t, nr, args);
            t.process->listener->proceed(notification);
            return;
        case Place::cached:
            if (answered_here(t, notification, nr, args)) return;
            [[fallthrough]];
        case Place::forward: case Place::tell:
            if (news_) heat(t, notification, nr, args);
            forward(t, notification, nr, args);
            return;
        case Place::both:
            if (nr == SYS_msync) return sync_shared(t, notification, args);
            forward(t, notification, nr, args, true);
            return;
        case Place::life: return begin_life_call(t, notification, nr, args);
        case Place::home: return go_home_for(t, notification, nr, args, placement.why);
        case Place::memory_of: return begin_memory_call(t, notification, nr, args, placement.why);
        case Place::deny: return lose(*t.process, nr, args, placement.why);
    }
}

void Worker::begin_life_call(Thread& t, uint64_t notification, uint32_t nr, const CallArgs& args) {
    bool alone = guests_.living(*t.process) <= 1;
    if (nr == SYS_exit) t.exiting = true;
    bool ends_process = nr == SYS_exit_group || (nr == SYS_exit && alone);
    // The end of a process is native: home hears of it when nothing of the guest runs any more (F11). One thread of
    // several is told without waiting: whatever its joiner does at home comes behind that, and home lets it end first.
    if (nr == SYS_exit && !ends_process) tell_exit(t.tid, args[0]);
    if (nr == SYS_exit || ends_process) { t.process->listener->proceed(notification); return; }
    forward(t, notification, nr, args);
}

void Worker::tell_exit(HomeTid tid, uint64_t status) {
    tell_shared();
    GuestProcess nobody;
    scratch_.clear();
    Writer w(scratch_);
    if (encode_call(tid, SYS_exit, {status}, nobody.memory, w)) link_.send(FrameType::call, 0, View(scratch_));
}

bool Worker::answered_here(Thread& t, uint64_t notification, uint32_t nr, const CallArgs& args) {
    auto result = told_time(t, nr, args);
    if (result) {
    } else if (nr == SYS_clock_gettime) {
        if (knows_cpu_clock(t, args, GuestAddr(args[1]))) result = 0;
    } else {
        result = cpu_timer_call(t, nr, args);
    }
    if (result) t.process->listener->answer(notification, *result);
    return result.has_value();
}

// False: the guest is being ended.
bool Worker::forward(Thread& t, uint64_t notification, uint32_t nr, const CallArgs& args, bool both) {
    auto& memory = t.process->memory;
    memory.through(t.tid);
    memory.take_missing();
    scratch_.clear();
    Writer w(scratch_);
    auto encoded = encode_call(t.tid, nr, args, memory, w);
    if (auto missing = memory.take_missing()) {
        wait_for_content(t, notification, *missing);
        return true;
    }
    if (!encoded) {
        lose(*t.process, nr, args, encoded.error().what);
        return false;
    }
    tell_shared(nr);
    t.call = {.id = call_id(++last_call_, t.tid), .notification = notification, .nr = nr, .both = both, .args = args};
    calls_on_the_way_++;
    last_caller_ = t.tid;
    if (nr != SYS_clock_gettime) t.process->cpu.calls++;
    t.wanted_limit = wanted_limit(t, nr, args);
    link_.send(FrameType::call, t.call.id, View(scratch_));
    return true;
}

void Worker::on_reply(uint64_t id, View body) {
    auto t = guests_.thread(caller_of(id));
    if (lost_clones_.erase(id)) return undo_lost_clone(caller_of(id), body);
    if (!t || t->call.id != id) return;                  // it has died meanwhile
    // A stopped thread's memory can be written, a dead one's can't, and its number isn't given to another before we
    // have reaped it: no check of the notification's id is needed before writing.
    GuestCall call = t->call;
    auto& memory = t->process->memory;
    memory.through(t->tid);
    UnwrittenMemory unwritten(memory);
    auto reply = apply_reply(body, call.nr, call.args, call.both ? static_cast<GuestMemory&>(unwritten) : memory);
    if (!reply) return link_ended(reply.error());
    OMX_DEBUG("{}: {} = {} (restart {})", t->tid.value, call_name(call.nr), reply->head.result, reply->head.restart);
    if (reply->head.restart == kComeHome) return come_home(*t, call, reply->attachment);
    if (t->left_at_home) return answer_at_rest(*t, reply->head);
    bool refused = reply->head.result < 0 || reply->head.restart;
    if (!refused && locks_memory(call.nr, call.args)) return finish_lock(*t, call, *reply);
    if (call.nr == SYS_mmap && call.notification && !reply->head.restart) return finish_mmap(*t, call, *reply);
    call_over(*t);
    if (!shared_copies_.empty() && !shared_tick_.is_set()) tick_for_shared(1);
    if (call.notification) finish_call(*t, call, *reply);
    else held_reply(*t, call, *reply);
}

void Worker::call_over(Thread& t) {
    if (t.call.id) calls_on_the_way_--;
    if (t.call.is_long) long_calls_--;
    t.call = {};
}

void Worker::finish_call(Thread& t, const GuestCall& call, const Reply& reply) {
    auto& listener = *t.process->listener;
    if (reply.head.restart) return interrupt_call(t, call, reply.head.restart);
    bool failed = reply.head.result < 0 && reply.head.result > -4096;
    bool copies = call.nr == SYS_process_vm_readv || call.nr == SYS_process_vm_writev;
    if (copies && !failed) return finish_memory_copy(t, call);
    if (!failed) after_call(t, call, reply.head.result);
    if (call.both && !failed) listener.proceed(call.notification);
    else {
        if (t.site_to_rewrite) tracee::interrupt(t.tid);      // at the stop its site is rewritten
        listener.answer(call.notification, reply.head.result);
    }
}

// What is to be done here when home's half of a call has succeeded.
void Worker::after_call(Thread& t, const GuestCall& call, int64_t result) {
    release_installed(t, call);
    switch (call.nr) {
        case SYS_rt_sigprocmask: return follow_mask(t, call.args);
        case SYS_timer_create: case SYS_timer_settime: case SYS_timer_delete:
        case SYS_rt_sigtimedwait: case SYS_signalfd: case SYS_signalfd4: return note_timer_call(t, call.nr, call.args);
        case SYS_setrlimit: case SYS_prlimit64: return follow_limit(t, call);
        default: return add_cpu_time(t, call, result);
    }
}

// Its thread waits at a call that only home can make: in a notification, or (0) in a TRACE stop.
void Worker::go_home_for(Thread& t, uint64_t notification, uint32_t nr, const CallArgs& args, std::string_view why) {
    OMX_DEBUG("{}: goes home for {}", t.tid.value, call_name(nr));
    bring_home(*t.process, fmt::format("{}: {}", describe(nr, args), why), std::string(call_name(nr)));
    if (t.process->killed) return;
    if (notification) t.process->listener->answer(notification, -abi::kErestartNoIntr);
    else rerun_held_call(t);
}

// Home knows better than the table that a call can only be made there.
void Worker::come_home(Thread& t, const GuestCall& call, View reason) {
    call_over(t);
    go_home_for(t, call.notification, call.nr, call.args,
                std::string_view(reinterpret_cast<const char*>(reason.data()), reason.size()));
}

// Neither here nor at home: the guest ends, with the reason.
void Worker::lose(Process& p, uint32_t nr, const CallArgs& args, std::string_view why) {
    auto text = fmt::format("{} can't be done away from home yet: {}", describe(nr, args), why);
    OMX_DEBUG("{}: lost: {}", p.pid.value, text);
    if (!p.lost) p.lost.emplace(std::move(text), std::string(call_name(nr)));
    kill_guest(p);
}

void Worker::kill_guest(Process& p) {
    p.killed = true;
    kill(p.pid.value, SIGKILL);
}

}  // namespace omx
