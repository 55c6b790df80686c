// A guest's call at home: checked against table and policy, laid out in the deputy's slot, posted, collected, answered.
#include <linux/futex.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <ctime>

#include "policy/policy.h"
#include "protocol/judges.h"
#include "protocol/trace.h"
#include "supervisor/job.h"

namespace omx {

using namespace std::chrono;

namespace {
constexpr uint16_t kRestartAnyhow = 513;  // ERESTARTNOINTR

// After these the supervisor may no longer take its own right to act for the process's.
bool changes_identity(uint32_t nr, const CallArgs& args) {
    switch (nr) {
        case SYS_setrlimit:
            return args[0] == RLIMIT_FSIZE;
        case SYS_prlimit64:
            return args[1] == RLIMIT_FSIZE && args[2] != 0;
        case SYS_setuid:
        case SYS_setgid:
        case SYS_setreuid:
        case SYS_setregid:
        case SYS_setresuid:
        case SYS_setresgid:
        case SYS_setfsuid:
        case SYS_setfsgid:
        case SYS_setgroups:
        case SYS_capset:
        case SYS_landlock_restrict_self:
            return true;
        default:
            return false;
    }
}

// Calls that make a signal or a ptrace stop of the very thread: the supervisor must be in its loop to see it.
bool stops_its_caller(uint32_t nr) {
    switch (nr) {
        case SYS_kill:
        case SYS_tkill:
        case SYS_tgkill:
        case SYS_rt_sigqueueinfo:
        case SYS_rt_tgsigqueueinfo:
        case SYS_rt_sigprocmask:
        case SYS_execve:
        case SYS_execveat:
            return true;
        default:
            return false;
    }
}

bool writes(uint32_t nr) {
    return nr == SYS_write || nr == SYS_writev || nr == SYS_pwrite64 || nr == SYS_pwritev;
}

// Machines' clocks drift apart by some 50 µs a second at most; asking costs three small frames.
using Clock = Spinner::Clock;
constexpr std::chrono::seconds kClocksToldEvery{1};

bool sets_a_clock(uint32_t nr) {
    return nr == SYS_clock_settime || nr == SYS_settimeofday || nr == SYS_adjtimex || nr == SYS_clock_adjtime;
}

// True while a deputy of it is at any call.
bool calling(const DeputyProcess& p) {
    return std::ranges::any_of(p.threads, [](auto& t) { return t.second->state == DeputyThread::State::calling; });
}

// True while one is at a call that may make a number stand for another file.
bool changes_descriptors(const DeputyProcess& p) {
    return std::ranges::any_of(p.threads, [](auto& t) {
        return t.second->state == DeputyThread::State::calling && t.second->changes_descriptors;
    });
}
}  // namespace

void Job::on_call(const CallOrigin& from, View body) {
    auto head = peek_call(body);
    if (!head) return link_lost(head.error());
    if (from.ours() && head->nr != SYS_exit) return link_lost({"a call without a number"});
    auto t = thread(head->tid);
    if (auto lane = lanes_.find(from.lane); t && lane && lane->process != t->process->pid)
        return link_lost({fmt::format("thread {} called over another process's lane", head->tid.value)});
    if (!t || t->state == Thread::State::ended || t->process->ending) return;  // crossed its end on the way
    if (t->process->image_on_its_way) return;
    // The call and a signal have crossed: nothing would interrupt it any more. It begins anew, behind the handler.
    // Likewise if it would block the signal, which then would be pending where nobody at home sees it.
    if (t->process->signals_on_their_way && place_of(head->nr, head->args).place != Place::life &&
        (may_block(head->nr, head->args) || head->nr == SYS_rt_sigprocmask))
        return answer_without_deputy(*head, from, {.result = -EINTR, .restart = kRestartAnyhow});
    bool free = t->state == Thread::State::idle && !t->active_for_guest();
    if (free && !t->process->undo) return start_call(*t, from, body);
    if (t->waiting || t->active_for_guest())
        return link_lost({fmt::format("thread {} made two calls at once", head->tid.value)});
    if (may_keep(body.size()))
        t->waiting.emplace(from, Bytes(body.begin(), body.end()));  // its deputy isn't ready yet
}

bool Job::may_keep(size_t bytes) {
    for (auto& [tid, t] : threads_)
        if (t->waiting) bytes += t->waiting->second.size();
    if (bytes <= setup_.limits.queue_bytes) return true;
    too_much("queue-bytes", setup_.limits.queue_bytes, "bytes of calls that can't be begun yet");
    return false;
}

void Job::start_call(Thread& t, const CallOrigin& from, View body) {
    auto head = peek_call(body);
    if (Clock::now() - clocks_told_ > kClocksToldEvery) tell_clocks();
    t.process->calls++;
    if (from.lane) stats_.calls_over_lanes++;
    auto& count = stats_.calls[head->nr];
    bool told = from.ours();
    (told ? count.told : stats_.round_trips)++;
    count.count++, count.forwarded += !told, count.bytes_out += body.size() + sizeof(FrameHeader);
    auto placement = place_of(head->nr, head->args);
    switch (placement.place) {
        case Place::forward:
        case Place::tell:
        case Place::cached:
        case Place::both:
        case Place::life:
        case Place::memory_of:
            break;
        default:
            return refuse_call(t, *head, placement.why);
    }
    if (decide({.program = t.process->program, .call = head->nr, .node = setup_.node_name}) != Verdict::allow)
        return answer_without_deputy(*head, from, {.result = -EPERM});
    if (locks_memory(head->nr, head->args)) return say_what_it_may_lock(t, *head, from);
    switch (head->nr) {
        case SYS_clone:
            return start_clone(t, *head, from);
        case SYS_exit:
            return start_thread_exit(t, *head, from);
        case SYS_mmap:
            return start_mmap(t, *head, from);
        case SYS_msync:
            return sync_shared(t, *head, from);
        case SYS_process_vm_readv:
        case SYS_process_vm_writev:
        case SYS_get_robust_list:
            return start_memory_check(t, *head, from);
        case SYS_fork:
        case SYS_vfork:
        case SYS_clone3:
        case SYS_exit_group:
        case SYS_process_madvise:
        case SYS_move_pages:
        case SYS_migrate_pages:
            return refuse_call(t, *head, "the node must not send it");
        default:
            break;
    }
    if (changes_identity(head->nr, head->args)) t.process->identity_changed = true;
    if (!run_by_supervisor(t, *head, from, body)) start_plain_call(t, *head, from, body);
}

// Runs the call right here if that is provably the same. False: nothing has happened, the deputy must run it.
bool Job::run_by_supervisor(Thread& t, const CallHead& head, const CallOrigin& from, View body) {
    auto& p = *t.process;
    if (!may_run_directly(head.nr, head.args)) return false;
    bool remembered = !p.shares_descriptors;
    bool allowed = direct_ && remembered && !p.identity_changed && !p.stopped;
    auto number = static_cast<int>(head.args[0]);
    auto kind = remembered ? descriptors_.kind(p.pid, number) : std::nullopt;
    if (kind && *kind != DescriptorKind::proc && (!allowed || *kind == DescriptorKind::other)) return false;
    UniqueFd fresh;
    int fd = descriptors_.copy(p.pid, number);
    if (fd < 0) {
        fresh.reset(static_cast<int>(syscall(SYS_pidfd_getfd, p.pidfd.get(), number, 0)));
        if (!fresh) return false;  // EBADF is the kernel's to say
        fd = fresh.get();
    }
    if (!kind) {
        kind = kind_of(fd);
        if (remembered && !changes_descriptors(p)) descriptors_.note(p.pid, number, *kind);
    }
    // Otherwise it is closed behind the reply.
    if (allowed && fresh && *kind != DescriptorKind::other && !calling(p))
        descriptors_.keep(p.pid, number, std::move(fresh));
    if (*kind == DescriptorKind::proc) {
        if (run_on_proc(t, head, from, body, fd)) return true;
        if (writes(head.nr)) return false;             // to many of these only the process itself may write
    }
    if (!allowed) return false;
    ActiveCall active{.from = from, .since = steady_clock::now()};
    own_arena_.reset();
    auto call = decode_call(body, own_arena_);
    if (own_arena_.unusual) return false;
    if (!call) {
        link_lost(call.error());
        return true;
    }
    auto result = run_directly(*call, fd, *kind);
    if (!result) return false;
    on_children();                                // a signal that came before the data must leave before it (F4)
    if (thread(head.tid) != &t) return true;      // or an exec of another thread has ended this one
    if (p.ending || !p.held.empty()) return true;
    active.call = std::move(*call);
    if (setup_.trace_file) active.text = format_call(head, body);
    stats_.run_by_supervisor++;
    t.active = std::move(active);
    reply(t, {*result, 0}, {}, "supervisor");
    return true;
}

void Job::start_plain_call(Thread& t, const CallHead& head, const CallOrigin& from, View body) {
    ActiveCall active{.from = from, .since = steady_clock::now()};
    active.arena = std::make_unique<SlotArena>(*t.process->slots, t.slot);
    auto call = decode_call(body, *active.arena);
    if (!call) return link_lost(call.error());
    active.call = std::move(*call);
    if (setup_.trace_file) active.text = format_call(head, body);
    if (head.nr == SYS_execve || head.nr == SYS_execveat) t.process->exec_in_progress = true;
    std::vector<SlotOp>& ops = active.arena->before;
    active.guest_op = static_cast<unsigned>(ops.size());
    ops.push_back(op(head.nr, active.call.deputy, OMX_OP_GUEST_CALL));
    ops.insert(ops.end(), active.arena->after.begin(), active.arena->after.end());
    if (ops.size() > OMX_MAX_OPS) return answer_without_deputy(head, from, {.result = -ENOMEM});
    bool async = stops_its_caller(head.nr);
    t.active = std::move(active);
    post(t, ops, async);
    if (async) {
        stats_.run_async++;
        return;
    }
    int64_t patience_us = may_block(head.nr, head.args) ? 60 : 300;
    if (wait_inline(t, patience_us)) {
        stats_.run_inline++;
        collect(t);
        return;
    }
    stats_.run_async++;
    if (t.process->wanted_home) leave_calls(*t.process, Leaving::of_lanes);
}

// ---- slots ----

namespace {
long futex(uint32_t& word, int what, uint32_t value, const timespec* timeout = nullptr) {
    return syscall(SYS_futex, &word, what, value, timeout, nullptr, 0);
}
}  // namespace

void Job::post(Thread& t, const std::vector<SlotOp>& ops, bool async) {
    t.changes_descriptors = descriptors_.before(t.process->pid, ops);
    auto& slot = t.process->slots->slot(t.slot);
    std::copy(ops.begin(), ops.end(), slot.ops);
    if (t.active) slot.ops[t.active->guest_op].result = -ENOMEM;  // stays if what must come before it fails
    slot.op_count = static_cast<uint32_t>(ops.size());
    slot.cancel = 0;
    slot.watcher = 0;
    t.state = Thread::State::calling;
    t.signals_met = 0;
    std::atomic_ref(slot.state).store(async ? OMX_POSTED_ASYNC : OMX_POSTED_WATCHED);  // full barrier: see blob.S
    if (std::atomic_ref(slot.sleeping).load()) futex(slot.state, FUTEX_WAKE, 1);
    unpark(t);  // the node may have no word for it before this call is over
}

void Job::post_ours(Thread& t, const std::vector<SlotOp>& ops) {
    t.active.emplace();
    post(t, ops, true);
}

// Most calls are over in microseconds: wait for them right here. True: done. False: it takes longer; from now on the
// deputy itself reports by a ptrace stop, and the loop goes on meanwhile.
bool Job::wait_inline(Thread& t, int64_t patience_us) {
    auto& slot = t.process->slots->slot(t.slot);
    std::atomic_ref state(slot.state);
    // Looked at for a moment before sleeping: that costs the deputy no wake-up and us no timer. On one CPU with it the
    // first look lets it run.
    if (deputy_spinner_.wait([&] { return state.load() != OMX_POSTED_WATCHED; })) return true;
    std::atomic_ref(slot.watcher).store(1);      // full barrier: the deputy sees it, or we see that it is done
    auto slept_at = Spinner::Clock::now(), until = slept_at + microseconds(patience_us);
    while (state.load() == OMX_POSTED_WATCHED) {
        auto left = duration_cast<nanoseconds>(until - steady_clock::now()).count();
        if (left <= 0) break;
        timespec timeout{0, left};
        futex(slot.state, FUTEX_WAIT, OMX_POSTED_WATCHED, &timeout);
    }
    deputy_spinner_.slept(Spinner::Clock::now() - slept_at);
    uint32_t expected = OMX_POSTED_WATCHED;
    return !state.compare_exchange_strong(expected, OMX_POSTED_ASYNC);
}

void Job::collect(Thread& t) {
    t.state = Thread::State::idle;
    if (!t.active) return;
    if (t.process->homecoming) return collect_at_home(t);
    auto& active = *t.active;
    if (active.from.ours()) {
        t.active.reset();
        if (auto& p = *t.process; p.undo && p.undo->reaping && p.undo->caller == t.tid) return undo_done(p);
        return run_waiting(t);
    }
    note_trap(t);
    auto head = head_of(t, active);
    switch (active.call.nr) {
        case SYS_clone:
            return finish_clone_if_ready(t);
        case SYS_mmap:
            return finish_mmap(t, head);
        case SYS_process_vm_readv:
        case SYS_process_vm_writev:
        case SYS_get_robust_list:
            return finish_memory_check(t, head);
        case SYS_execve:
        case SYS_execveat:
            t.process->exec_in_progress = false;
            break;
        default:
            break;
    }
    if (sets_scheduling(active.call.nr)) follow_scheduling(t, active.call);
    if (head.result == 0 && sends_signal(active.call.nr)) {
        t.held_reply = head;
        return senders_.push_back(t.tid);
    }
    reply(t, head);
}

ReplyHead Job::head_of(Thread& t, const ActiveCall& active) {
    auto& slot = t.process->slots->slot(t.slot);
    ReplyHead head{std::atomic_ref(slot.ops[active.guest_op].result).load(), active.restart};
    if (head.result == -EINTR && slot.cancel && !head.restart) head.restart = 513;  // never began: begins again
    if (head.result != -EINTR) head.restart = 0;  // it was over before the signal could interrupt it
    return head;
}

void Job::reply(Thread& t, const ReplyHead& head, View attachment, std::string_view where) {
    auto active = std::move(*t.active);
    t.active.reset();
    if (sets_a_clock(active.call.nr)) tell_clocks();      // ahead of the answer
    auto w = begin_reply(active.from);
    View tail;
    if (attachment.empty())
        tail = encode_reply_but_tail(active.call, head, w);
    else
        encode_reply(active.call, head, w, attachment);
    send_reply(active.from, tail);
    auto& count = stats_.calls[active.call.nr];
    count.bytes_in += scratch_.size() + tail.size() + sizeof(FrameHeader);
    count.home_us += static_cast<uint64_t>(duration_cast<microseconds>(steady_clock::now() - active.since).count());
    if (setup_.trace_file) trace(t.tid, active.text, active.call.nr, head.result, where);
}

// In scratch_. What is on the link already must be seen there before what a lane says (a signal, the reply after it).
Writer Job::begin_reply(const CallOrigin& to) {
    if (!to.lane) tell_shared();
    scratch_.clear();
    Writer w(scratch_);
    if (to.lane) w.put(link_.counters().frames_out);
    return w;
}

void Job::send_reply(const CallOrigin& to, View tail) {
    if (to.lane) {
        if (auto lane = lanes_.find(to.lane))
            lane->link.send(FrameType::lane_reply, to.id, View(scratch_), Link::Priority::urgent, tail);
    } else if (link_up_) {
        link_.send(FrameType::reply, to.id, View(scratch_), Link::Priority::urgent, tail);
    }
}

// An answer that no deputy had to be asked for.
void Job::answer_without_deputy(const CallHead& head, const CallOrigin& from, const ReplyHead& reply) {
    HomeCall call{.tid = head.tid, .nr = head.nr, .guest = head.args};
    auto w = begin_reply(from);
    encode_reply(call, reply, w);
    send_reply(from);
    if (setup_.trace_file)
        trace(head.tid, std::string(call_name(head.nr)) + "(…)", head.nr, reply.result, "supervisor");
}

// The node asks for something that it may not ask for: a bug there, or worse. Nothing is run.
void Job::refuse_call(Thread& t, const CallHead& head, std::string_view why) {
    stats_.not_yet[std::string(call_name(head.nr))]++;
    end_guest_with_line(*t.process, fmt::format("{} was refused at home: {}", call_name(head.nr), why));
}

void Job::run_waiting(Thread& t) {
    if (t.active_for_guest()) return;  // its call isn't over yet
    if (auto mask = std::exchange(t.new_mask, std::nullopt)) {
        t.trap_blocked = *mask >> (SIGTRAP - 1) & 1;
        return post_ours(t, {op(SYS_rt_sigprocmask, {SIG_SETMASK, own_data(t, &*mask, sizeof *mask), 0, 8})});
    }
    if (!t.waiting) return;
    auto [from, body] = std::move(*t.waiting);
    t.waiting.reset();
    start_call(t, from, body);
}

void Job::trace(HomeTid tid, const std::string& call, uint32_t nr, int64_t result, std::string_view where) {
    auto line = fmt::format("{:>7} {:<10} {} = {}\n", tid.value, where, call, format_result(nr, result));
    (void)!write(setup_.trace_file.get(), line.data(), line.size());
}

}  // namespace omx
