// How deputies come to be: a process that has just exec'ed is captured and emptied; a deputy's clone makes another.
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>

#include "loader/capture.h"
#include "loader/node_vdso.h"
#include "loader/proc_files.h"
#include "supervisor/job.h"
#include "supervisor/outsiders.h"

namespace omx {

namespace {

// The vDSO with the pages that it reads, which stand in front of it.
std::pair<uint64_t, uint64_t> with_data(const Region& vdso) {
    auto& pieces = node_vdso().pieces;
    if (pieces.empty()) return {vdso.start, vdso.end};
    uint64_t first = vdso.start + static_cast<uint64_t>(pieces.front().at);
    return {std::min(first, vdso.start), std::max(vdso.end, first + node_vdso().bytes)};
}

}  // namespace

// At PTRACE_EVENT_EXEC. All other threads are gone, and the process has the leader's id, whoever called execve.
void Job::on_exec(HomeTid tid) {
    HomePid pid(tid.value);
    auto p = process(pid);
    OMX_CHECK(p, "an exec was reported");
    unsigned long former = 0;
    tracee::event_message(tid, former);
    if (auto caller = thread(HomeTid(static_cast<pid_t>(former)))) unblock_after_call(*caller, tid);
    descriptors_.forget(pid);
    lanes_.drop_of(pid);  // what comes over them now is of threads that are no more
    if (std::exchange(p->borrowed, nullptr)) end_what_is_left(*p);
    bool was_away = p->away;
    for (auto& [other, t] : p->threads) {
        threads_.erase(other);
        end_unborn_of(other);
    }
    end_nobodys_children();
    p->threads.clear();
    p->slots.reset();
    p->homecoming.reset();
    kept_.forget(pid);
    proc_texts_.forget(pid);
    if (auto other = thread(HomeTid(static_cast<pid_t>(former)))) forget(other->tid);  // at home each has its record
    p->exec_in_progress = p->shares_descriptors = false;
    auto& t = add_thread(*p, tid, 0);
    t.state = Thread::State::preparing;
    p->fresh.reset();
    stats_.execs++;

    if (!reach_call_stop(tid)) return;
    if (asked_to_end_ || p->wanted_home)
        return stay_home(*p, {asked_to_end_ || p->to_be_let_go ? Hold::let_go : Hold::keep, std::string(kAsked)});
    if (auto judged = judge_new_program(pid, privileged_, leak_checkers_); !judged.reason.empty())
        return stay_home(*p, std::move(judged));
    auto image = link_up_ || was_away ? capture(*p, tid) : fail("the link is gone");
    if (!image) return stay_home(*p, {Hold::keep, image.error().what});
    user_regs_struct regs = image->threads.at(0).regs;
    auto placed = place_blob(t, *image, regs);
    if (!placed) return stay_home(*p, {Hold::keep, placed.error().what});
    if (!*placed) return;  // killed meanwhile
    p->program = program_of(pid);
    p->is_now(true, "");
    p->image_on_its_way = link_up_;
    t.scheduling = image->threads.at(0).scheduling;
    if (!scheduling_look_.is_set()) look_at_scheduling();
    tracee::die_with_supervisor(tid, true);
    p->emptying = emptying(*image);
    p->trap_action.reset();
    if (auto& action = image->actions[SIGTRAP - 1]; action.handler) p->trap_action = action;
    if (link_up_) {
        Bytes body = encode_frame(*image);
        ImageFrame frame{pid, HomeTid(static_cast<pid_t>(former)), was_away, View(body)};
        // It has come home only just: the node must first have seen to what is left of it there.
        if (came_home_.contains(pid)) late_images_[pid] = encode_frame(frame);
        else link_.send(FrameType::image, 0, frame);
    } else {
        p->ending = false;
        end_with_line(*p, line_of_each_);  // the link ended while it was in execve
    }
    tracee::resume(tid);
}

Result<Image> Job::capture(Process& p, HomeTid) {
    return capture_exec(p.pid, [&](UniqueFd file, const std::string&) { return register_file(p, std::move(file)); });
}

// Maps the blob by one injected mmap and points the process at it. Signals are blocked until it waits in its slot. False:
// see make_call.
Result<bool> Job::place_blob(Thread& t, const Image& image, user_regs_struct regs) {
    auto offset = tracee::syscall_offset_in_vdso();
    uint64_t vdso = auxv_value(View(image.auxv), AT_SYSINFO_EHDR);
    if (!offset || !vdso) return fail("no vDSO here to make the first call with");
    uint64_t mask = 0;
    if (!tracee::signal_mask(t.tid, mask) || !tracee::set_signal_mask(t.tid, ~uint64_t{0}))
        return fail("the process is gone");
    t.process->mask_after_exec = mask;

    auto injected = regs;
    injected.rip = vdso + *offset;
    injected.rax = SYS_mmap;
    injected.orig_rax = ~uint64_t{0};
    injected.rdi = OMX_BLOB_BASE, injected.rsi = OMX_BLOB_BYTES, injected.rdx = PROT_READ | PROT_EXEC;
    injected.r10 = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, injected.r8 = ~uint64_t{0}, injected.r9 = 0;
    if (!make_call(t.tid, injected)) return false;
    if (!tracee::registers(t.tid, injected)) return fail("the process was killed at its exec");
    auto go_back = [&](std::string why) {
        tracee::set_registers(t.tid, regs);
        tracee::set_signal_mask(t.tid, mask);
        t.process->mask_after_exec.reset();
        return fail(std::move(why));
    };
    if (injected.rax != OMX_BLOB_BASE)
        return go_back(fmt::format("can't map the deputy's code ({})", static_cast<int64_t>(injected.rax)));
    UniqueFd memory(open(fmt::format("/proc/{}/mem", t.tid.value).c_str(), O_RDWR | O_CLOEXEC));
    auto size = static_cast<size_t>(omx_blob_end - omx_blob_begin);
    if (!memory || pwrite(memory.get(), omx_blob_begin, size, OMX_BLOB_BASE) != static_cast<ssize_t>(size))
        return go_back("can't write the deputy's code");
    injected.rip = blob_address(omx_blob_process_start);
    injected.orig_rax = ~uint64_t{0};
    if (!tracee::set_registers(t.tid, injected)) return fail("the process was killed at its exec");
    return true;
}

// What makes a deputy of a captured process: all its memory goes, but for the blob's places, the vDSO (it costs
// nothing) and the stack mapping, of which the pages that `ps` shows, arguments and environment, stay.
std::vector<SlotOp> Job::emptying(const Image& image) {
    constexpr uint64_t page = OMX_PAGE, top = 0x7ffffffff000;
    std::vector<std::pair<uint64_t, uint64_t>> keep{{OMX_BLOB_BASE, OMX_BLOB_BASE + OMX_BLOB_BYTES},
                                                    {OMX_SLOTS_BASE, OMX_SLOTS_BASE + OMX_SLOTS_SPAN},
                                                    {OMX_BIG_BASE, OMX_BIG_BASE + OMX_BIG_SPAN}};
    std::vector<SlotOp> ops;
    for (auto& r : image.regions) {
        if (r.kind == RegionKind::stack) keep.emplace_back(r.start, r.end);
        if (r.kind == RegionKind::vdso) keep.push_back(with_data(r));
        if (r.kind != RegionKind::stack) continue;
        uint64_t shown = image.mm.arg_start & ~(page - 1);
        if (shown > r.start && shown < r.end) ops.push_back(op(SYS_madvise, {r.start, shown - r.start, MADV_DONTNEED}));
    }
    std::ranges::sort(keep);
    uint64_t from = 0x10000;
    for (auto [start, end] : keep) {
        if (start > from) ops.push_back(op(SYS_munmap, {from, start - from}));
        from = std::max(from, end);
    }
    if (from < top) ops.push_back(op(SYS_munmap, {from, top - from}));
    return ops;
}

// ---- clone ----

// What a clone of a process takes and gives at home. Its descriptor is the deputy's, the number is told with the reply.
struct Job::ProcessClone {
    clone_args args{};                           // for flags that clone(2) doesn't have
    int32_t pidfd = -1;
};

SlotOp Job::process_clone_op(Thread& t, uint64_t flags) {
    // The home half is always forked without shared memory (F9): what the guests share, they share on the node.
    constexpr uint64_t at_home = CSIGNAL | CLONE_PARENT | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_IO
                                 | CLONE_SIGHAND | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
    uint64_t kept = flags & (flags & CLONE_PIDFD ? at_home | CLONE_DETACHED : at_home);     // refused together
    uint64_t pidfd = own_place(t) + offsetof(ProcessClone, pidfd);
    ProcessClone data{.args = {.flags = kept & ~uint64_t{CSIGNAL}, .pidfd = pidfd, .exit_signal = kept & CSIGNAL}};
    uint64_t at = own_data(t, &data, sizeof data);
    if (kept & CLONE_CLEAR_SIGHAND) return op(SYS_clone3, {at, sizeof data.args}, OMX_OP_NEW_PROCESS);
    return op(SYS_clone, {kept, 0, pidfd}, OMX_OP_NEW_PROCESS);
}

std::vector<SlotOp> Job::clone_ops(Thread& t, const CallHead& head, ActiveCall& active) {
    uint64_t flags = head.args[0];
    if (!(flags & CLONE_THREAD)) return {process_clone_op(t, flags)};
    auto& slots = *t.process->slots;
    active.child_slot = slots.take_slot();
    if (!active.child_slot) return {};
    auto ops = slots.growth_for(*active.child_slot);
    active.guest_op = static_cast<unsigned>(ops.size());
    constexpr uint64_t thread_flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    // A new thread needs neither stack nor TLS at home. Its slot travels in the sixth argument, which clone ignores.
    ops.push_back(op(SYS_clone, {thread_flags, 0, 0, 0, 0, SlotMemory::slot_address(*active.child_slot).value},
                     OMX_OP_NEW_THREAD));
    return ops;
}

void Job::start_clone(Thread& t, const CallHead& head, const CallOrigin& from) {
    ActiveCall active{.from = from, .since = std::chrono::steady_clock::now()};
    active.call = {.tid = t.tid, .nr = head.nr, .guest = head.args};
    auto ops = clone_ops(t, head, active);
    if (ops.empty()) return answer_without_deputy(head, from, {.result = -EAGAIN});
    if (setup_.trace_file) active.text = fmt::format("clone({:#x})", head.args[0]);
    t.active = std::move(active);
    post(t, ops, true);
}

namespace {
bool made_by_a_deputy(HomeTid tid) {
    user_regs_struct regs;
    return tracee::registers(tid, regs) && regs.rip - OMX_BLOB_BASE < OMX_BLOB_BYTES;
}
}  // namespace

// The first stop of a task. Its parent's news of it may still be on its way, or never come: a thread that is killed then
// doesn't stop for it any more.
void Job::on_first_stop(HomeTid tid) {
    if (!made_by_a_deputy(tid)) return adopt_at_home(tid);
    stopped_early_.insert(tid);
    if (announced_.contains(tid)) on_new_tracee(tid);
}

// A process at home has its own life.
void Job::adopt_at_home(HomeTid child) {
    unseen_.erase(child.value);                  // another process has the number now
    auto p = std::make_unique<Process>();
    p->pid = HomePid(child.value);
    p->program = program_of(p->pid);
    stay_like_parent(*p);
    auto& added = *p;
    processes_[added.pid] = std::move(p);
    add_thread(added, child, 0).state = Thread::State::idle;
    tracee::resume(child);
}

// A deputy's child without a parent, which has been killed in the middle of its clone, or executes another program.
// Natively it might not have come to be.
void Job::end_nobodys_child(HomeTid child) {
    syscall(SYS_tkill, child.value, SIGKILL);
    tracee::resume(child);
}

void Job::end_nobodys_children() {
    auto makes_one = [](auto& t) { return t.second->active && t.second->active->call.nr == SYS_clone; };
    if (stopped_early_.empty() || std::ranges::any_of(threads_, makes_one)) return;
    for (auto child : std::exchange(stopped_early_, {})) end_nobodys_child(child);
}

// A task that a deputy's clone made has come to its first stop, and we know whose child it is.
void Job::on_new_tracee(HomeTid child) {
    unseen_.erase(child.value);                  // another process has the number now
    auto parent = thread(announced_.at(child));
    announced_.erase(child);
    stopped_early_.erase(child);
    if (!parent || !parent->active || parent->active->call.nr != SYS_clone) return end_nobodys_child(child);
    unblock_after_call(*parent, child);
    if (parent->active->child_slot) {
        auto& t = add_thread(*parent->process, child, *parent->active->child_slot);
        t.state = Thread::State::idle;
        t.trap_blocked = parent->trap_blocked;
        t.scheduling = parent->scheduling;
        tracee::resume(child);
        run_waiting(t);
    } else {
        auto p = std::make_unique<Process>();
        p->pid = HomePid(child.value);
        p->program = parent->process->program;
        p->identity_changed = parent->process->identity_changed;
        p->shares_descriptors = parent->active->call.guest[0] & CLONE_FILES;
        if (p->shares_descriptors) {
            parent->process->shares_descriptors = true;
            descriptors_.forget(parent->process->pid);
        }
        p->away = true;
        p->unborn_of = parent->tid;
        auto& added = *p;
        processes_[added.pid] = std::move(p);
        kept_.inherit(parent->process->pid, added.pid);
        added.trap_action = parent->process->trap_action;
        auto& t = add_thread(added, child, 0);
        t.state = Thread::State::preparing;
        t.made_by = parent->tid;
        t.trap_blocked = parent->trap_blocked;
        t.scheduling = parent->scheduling;
        tracee::resume(child);  // on to the blob's start: see on_blob_trap
    }
    finish_clone_if_ready(*parent);
}

// The reply needs both: the clone call has returned in the parent, and the child stands ready for calls.
void Job::finish_clone_if_ready(Thread& parent) {
    if (parent.state != Thread::State::idle || !parent.active || parent.active->call.nr != SYS_clone) return;
    auto& slot = parent.process->slots->slot(parent.slot);
    int64_t result = slot.ops[parent.active->guest_op].result;
    if (result > 0) {
        auto child = thread(HomeTid(static_cast<pid_t>(result)));
        if (!child || child->state == Thread::State::preparing) return;
        child->process->unborn_of = HomeTid();
    } else if (parent.active->child_slot) {
        parent.process->slots->give_back(*parent.active->child_slot);
    }
    Bytes attachment;
    parent.pidfd_of_child = -1;
    if (result > 0 && parent.active->call.guest[0] & CLONE_PIDFD) {
        auto from = in_slot(parent, own_place(parent) + offsetof(ProcessClone, pidfd), sizeof(int32_t));
        std::memcpy(&parent.pidfd_of_child, from, sizeof(int32_t));
        Writer(attachment).put(parent.pidfd_of_child);
    }
    reply(parent, {result, 0}, View(attachment));
    auto child = process(HomePid(static_cast<pid_t>(result)));
    if (!parent.process->wanted_home || !child) return;
    child->to_be_let_go = parent.process->to_be_let_go;
    ask_home(*child, kAsked);
}

// ---- the blob's own stops ----

bool Job::on_blob_trap(Thread& t) {
    user_regs_struct regs;
    if (!tracee::registers(t.tid, regs)) return true;
    if (regs.rip == blob_address(omx_blob_reported)) {
        unblock_after_call(t, t.tid);
        t.blocked_for_call = 0;
        note_trap(t);
        if (!mend_trap(t, regs)) return true;
        if (std::exchange(t.going_home, false) && !met_signals(t)) return leave_blob(t), true;
        tracee::resume(t.tid);
        collect(t);
    } else if (regs.rip == blob_address(omx_blob_made_memfd)) {
        take_memfd(t, regs);
    } else if (regs.rip == blob_address(omx_blob_mapped)) {
        auto failed = [](uint64_t r) { return r > static_cast<uint64_t>(-4096); };
        if (failed(regs.r12) || failed(regs.r13)) {
            say(fmt::format("{}: a deputy can't map its slots (is ulimit -v very low?)", t.process->program));
            syscall(SYS_tgkill, t.process->pid.value, t.tid.value, SIGKILL);
            return true;
        }
        if (auto limit = std::exchange(t.process->descriptor_limit, std::nullopt))
            prlimit(t.process->pid.value, RLIMIT_NOFILE, &*limit, nullptr);
        if (auto mask = std::exchange(t.process->mask_after_exec, std::nullopt)) {
            tracee::set_signal_mask(t.tid, *mask);
            t.trap_blocked = *mask >> (SIGTRAP - 1) & 1;
        }
        if (!mend_trap(t, regs)) return true;
        tracee::resume(t.tid);
        thread_ready(t);
    } else if (regs.rip == blob_address(omx_blob_run)) {
        tracee::resume(t.tid);  // it was about to report when run_forced sent it here
    } else {
        return false;
    }
    return true;
}

void Job::take_memfd(Thread& t, const user_regs_struct& regs) {
    auto& p = *t.process;
    auto give_up = [&](const std::string& why) {
        say(fmt::format("{}: {}", p.program, why));
        syscall(SYS_tgkill, p.pid.value, t.tid.value, SIGKILL);
    };
    auto fd = static_cast<int64_t>(regs.rbx);
    if (fd == -EMFILE && make_room_for_memfd(t, regs)) return tracee::resume(t.tid), void();
    if (fd < 0) return give_up(fmt::format("a deputy can't make its slots: {}", strerror(static_cast<int>(-fd))));
    p.pidfd = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, p.pid.value, 0)));
    UniqueFd memfd(static_cast<int>(syscall(SYS_pidfd_getfd, p.pidfd.get(), fd, 0)));
    if (!memfd) return give_up(fmt::format("pidfd_getfd: {}", strerror(errno)));
    auto slots = SlotMemory::make(std::move(memfd));
    if (!slots) return give_up(slots.error().what);
    p.slots = std::move(*slots);
    tracee::resume(t.tid);
}

// The guest's descriptor table is full: the memfd needs one number more, for a moment.
bool Job::make_room_for_memfd(Thread& t, user_regs_struct regs) {
    auto& p = *t.process;
    rlimit limit{};
    if (p.descriptor_limit || prlimit(p.pid.value, RLIMIT_NOFILE, nullptr, &limit) < 0) return false;
    rlimit more{limit.rlim_cur + 1, std::max(limit.rlim_max, limit.rlim_cur + 1)};
    if (prlimit(p.pid.value, RLIMIT_NOFILE, &more, nullptr) < 0) return false;
    p.descriptor_limit = limit;
    regs.rip = blob_address(omx_blob_make_memfd);
    return tracee::set_registers(t.tid, regs);
}

void Job::thread_ready(Thread& t) {
    auto& p = *t.process;
    t.state = Thread::State::idle;
    if (p.last_words) return end_with_line(p, *std::exchange(p.last_words, std::nullopt));
    if (!p.emptying.empty()) post_ours(t, std::exchange(p.emptying, {}));
    if (!t.forced.empty()) tracee::interrupt(t.tid);
    if (t.state == Thread::State::idle) run_waiting(t);
    if (auto maker = thread(t.made_by)) finish_clone_if_ready(*maker);
}

// ---- the end of a thread ----

void Job::start_thread_exit(Thread& t, const CallHead& head, const CallOrigin& from) {
    ActiveCall active{.from = from, .since = std::chrono::steady_clock::now()};
    active.call = {.tid = t.tid, .nr = head.nr, .guest = head.args};
    if (setup_.trace_file) trace(t.tid, fmt::format("exit({})", head.args[0]), head.nr, 0, "deputy");
    t.active = std::move(active);
    t.exit_expected = true;
    auto tid = t.tid;
    post(t, {op(SYS_exit, {head.args[0]})}, true);
    see_it_end(tid);
}

// Its guest doesn't wait for that: what comes next must find it ended (C1). Not if it stops first, for whatever reason.
void Job::see_it_end(HomeTid tid) {
    auto busy = [](Thread* t) {
        return t && t->state == Thread::State::calling && !t->process->stopped && t->process->held.empty();
    };
    int status = 0;
    while (busy(thread(tid)) && waitpid(tid.value, &status, __WALL) == tid.value) {
        if (WIFSTOPPED(status)) on_stop(tid, status);
        else on_thread_ended(tid, status);
    }
}

// ---- memory ----

// The memory is the node's, the right to lock it the process's here, whatever it has lowered or given up by now.
void Job::say_what_it_may_lock(Thread& t, const CallHead& head, const CallOrigin& from) {
    auto dir = ProcDir::open(HomePid(t.tid.value));
    auto bytes = dir ? lockable_bytes(*dir) : std::unexpected(dir.error());
    if (!bytes) return answer_without_deputy(head, from, {.result = -EAGAIN});
    t.active = ActiveCall{.from = from, .since = std::chrono::steady_clock::now()};
    t.active->call = {.tid = t.tid, .nr = head.nr, .guest = head.args};
    if (setup_.trace_file) t.active->text = fmt::format("{}(…)", call_name(head.nr));
    reply(t, {0, 0}, std::as_bytes(std::span(&*bytes, 1)), "supervisor");
}


// The deputy tries the mapping and undoes it, so that every error is the kernel's own; the node gets the file's key. One
// that has closed itself to us (PR_SET_DUMPABLE, 0) has to be `opened` for as long as we take the file from it.
void Job::start_mmap(Thread& t, const CallHead& head, const CallOrigin& from, bool opened) {
    ActiveCall active{.from = from, .opened = opened, .since = std::chrono::steady_clock::now()};
    active.call = {.tid = t.tid, .nr = head.nr, .guest = head.args};
    if (setup_.trace_file)
        active.text = fmt::format("mmap({:#x}, {}, {}, {:#x}, {}, {:#x})", head.args[0], head.args[1], head.args[2],
                                  head.args[3], static_cast<int>(head.args[4]), head.args[5]);
    constexpr uint64_t place_flags = MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_POPULATE | MAP_LOCKED | MAP_GROWSDOWN;
    std::vector<SlotOp> ops;
    if (opened) ops.push_back(op(SYS_prctl, {PR_SET_DUMPABLE, 1}));
    active.guest_op = static_cast<unsigned>(ops.size());
    ops.push_back(op(SYS_mmap,
                     {0, head.args[1], head.args[2], head.args[3] & ~place_flags, head.args[4], head.args[5]},
                     OMX_OP_STOP_ON_ERROR));
    ops.push_back(op(SYS_munmap, {0, head.args[1]}, OMX_OP_RESULT_AS_ARG0));
    t.active = std::move(active);
    post(t, ops, false);
    if (wait_inline(t, 300)) collect(t);
}

namespace {
// A copy may stand for the file only where nobody can change it unseen: by this descriptor or as another user (F25).
bool steady(int file) {
    struct stat st;
    return fstat(file, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == 0 && !(st.st_mode & (S_IWGRP | S_IWOTH)) &&
           (fcntl(file, F_GETFL) & O_ACCMODE) == O_RDONLY && !somebody_has_it_to_write(file);
}
}  // namespace

void Job::finish_mmap(Thread& t, const ReplyHead& head) {
    bool opened = t.active->opened;
    answer_mmap(t, head);
    if (!opened || t.state != Thread::State::idle || t.active) return;
    bool needed = std::ranges::any_of(t.process->threads,
                                      [](auto& other) { return other.second->active && other.second->active->opened; });
    if (!needed) post_ours(t, {op(SYS_prctl, {PR_SET_DUMPABLE, 0})});
}

void Job::answer_mmap(Thread& t, const ReplyHead& head) {
    if (head.result < 0 && head.result > -4096) return reply(t, head);
    auto args = t.active->call.guest;
    if (args[3] & MAP_ANONYMOUS) {
        constexpr std::string_view kHuge = "huge pages are reserved at home, the node may have none";
        return reply(t, {0, kComeHome}, std::as_bytes(std::span(kHuge)));
    }
    auto number = static_cast<int>(args[4]);
    auto file = borrow_descriptor(t, number);
    if (!file && file.error().code == EPERM) {
        if (t.active->opened) return reply(t, {-EAGAIN, 0});  // it closes itself again and again
        return start_mmap(t, {.tid = t.tid, .nr = SYS_mmap, .args = args}, CallOrigin(t.active->from), true);
    }
    if (!file) return reply(t, {-EBADF, 0});  // closed meanwhile by another thread
    if ((args[3] & MAP_SHARED) && !steady(file->get())) return share_file(t, std::move(*file));
    auto key = register_file(*t.process, std::move(*file));
    if (!key) return reply(t, {0, kComeHome}, std::as_bytes(std::span(key.error().what)));
    Bytes attachment = encode_frame(*key);
    reply(t, {0, 0}, View(attachment));
}

}  // namespace omx
