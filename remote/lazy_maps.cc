// mmap of big files: mapped as sparse memfds, whose holes are filled where the guest touches them. A thread that
// touches one waits in its fault (userfaultfd) until home has sent what belongs there; nobody else does. Threads so
// waiting are stopped and killed like all others.
//
// The userfaultfd must be made by a process of that memory, and nobody may touch the mapping before it is watched, or
// the hole would become zeroes for everybody. So the guest's mmap is not let go on: the thread is stopped in its place
// and makes a few calls for us, the mmap without any access among them. A forked child's memory is not watched any
// more: it makes its own at its first stop. (EVENT_FORK would need a privilege that nobody here has.)
//
// Only user code's accesses are so reported, the kernel's own fail with EFAULT. The worker's reads are looked at for
// that: see forward().
#include "loader/capture.h"
#include "remote/debug.h"
#include "remote/worker.h"
#include <csignal>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

namespace omx {
namespace {

constexpr uint16_t kSyscallInstruction = 0x050f;

uint64_t page_up(uint64_t bytes) { return (bytes + 4095) & ~uint64_t{4095}; }

// What a program's loader maps (glibc's says so by a flag that means nothing to the kernel any more): other jobs will
// want it too, and the kernel may read a time-out or a lock in it, which must not fail.
bool is_program(const CallArgs& args) { return (args[2] & PROT_EXEC) || (args[3] & MAP_DENYWRITE); }

}  // namespace

bool Worker::to_be_mapped_lazily(const Process& p, const CallArgs& args, const FileKey& key) {
    if (!setup_.userfaultfd || p.space->refused || key.bytes <= setup_.lazy_above) return false;
    if (is_program(args) && key.bytes <= Contents::kMaxFileBytes) return false;
    return !contents_.known(key);
}

// ---- the mapping ----

void Worker::map_lazily(Thread& t, const GuestCall& call, const FileKey& key) {
    auto& p = *t.process;
    auto file = lazy_files_.open(key);
    call_over(t);
    if (!file) return lose(p, call.nr, call.args, file.error().what);
    turn_lane_off(p);                                                    // as for every installed file
    t.lazy_mapping = {.args = call.args, .file = std::move(*file)};
    tracee::interrupt(t.tid);
    p.listener->answer(call.notification, -abi::kErestartNoIntr);
}

// It is stopped behind its call, which has done nothing.
void Worker::begin_lazy_mapping(Thread& t) {
    auto& p = *t.process;
    if (!begin_injecting(t)) return;
    p.space->keep_only_mapped(maps_of(t.tid));
    if (p.space->watching()) return make_lazy_mapping(t);
    inject(t, SYS_userfaultfd, {O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY}, [this](Thread& thread, int64_t number) {
        if (watch_faults(thread, static_cast<int>(number))) make_lazy_mapping(thread);
        else give_up_laziness(thread, {"no userfaultfd", 0});
    });
}

// Not shared: the kernel watches only shared mappings that may become writable. This one's file doesn't change, or home
// would not have let it away; and who makes it writable writes to his own copy.
void Worker::make_lazy_mapping(Thread& t) {
    auto args = t.lazy_mapping->args;
    args[2] = PROT_NONE;
    args[3] = (args[3] & ~uint64_t{MAP_TYPE | MAP_POPULATE}) | MAP_PRIVATE;
    inject(t, SYS_mmap, args, [this](Thread& thread, int64_t at) {
        if (at < 0 && at > -4096) return lazy_mapping_failed(thread, 0, at);
        lazy_mapping_made(thread, static_cast<uint64_t>(at));
    });
}

void Worker::lazy_mapping_made(Thread& t, uint64_t at) {
    auto& space = *t.process->space;
    auto& [args, file] = *t.lazy_mapping;
    if (auto watched = space.watch(at, at + page_up(args[1])); !watched) return give_up_laziness(t, watched.error());
    space.add(file);
    OMX_DEBUG("{}: {} bytes at {:#x} are mapped lazily", t.tid.value, args[1], at);
    auto done = [this, at](Thread& thread) {
        thread.lazy_mapping.reset();
        end_injecting(thread, at);
    };
    if (args[2] == PROT_NONE) return done(t);
    inject(t, SYS_mprotect, {at, args[1], args[2]}, [this, at, done](Thread& thread, int64_t result) {
        if (result < 0) lazy_mapping_failed(thread, at, result);
        else done(thread);
    });
}

void Worker::lazy_mapping_failed(Thread& t, uint64_t at, int64_t error) {
    auto fail = [this, error](Thread& thread) {
        thread.lazy_mapping.reset();
        end_injecting(thread, static_cast<uint64_t>(error));
    };
    if (!at) return fail(t);
    inject(t, SYS_munmap, {at, t.lazy_mapping->args[1]}, [fail](Thread& thread, int64_t) { fail(thread); });
}

// The guest calls again, and gets the whole file (if it isn't too big for that).
void Worker::give_up_laziness(Thread& t, const Error& why) {
    OMX_DEBUG("{}: no lazy mappings: {}", t.tid.value, why.what);
    t.process->space->refused = true;
    t.lazy_mapping.reset();
    t.injected->regs.rip -= 2;
    end_injecting(t, SYS_mmap);
}

// ---- faults ----

bool Worker::watch_faults(Thread& t, int number) {
    auto& p = *t.process;
    if (number < 0) return false;
    auto taken = p.space->adopt(t.tid, number, loop_,
                                [this, space = std::weak_ptr(p.space)] { on_faults(space); });
    if (!taken) OMX_DEBUG("{}: {}", p.pid.value, taken.error().what);
    return taken.has_value();
}

void Worker::on_faults(const std::weak_ptr<LazySpace>& watched) {
    auto space = watched.lock();
    if (!space) return;
    auto news = space->take_news();
    Process* owner = nullptr;
    for (auto& [pid, p] : guests_.processes())
        if (p->space == space && !p->killed && !p->threads.empty()) owner = p.get();
    if (!owner) return;                                                  // they are on their way out
    HomeTid through(*owner->threads.begin());
    owner->memory.through(through);
    for (uint64_t page : news.pages) fill_hole(*owner, page);
    if (news.unmapped) space->keep_only_mapped(maps_of(through));
}

void Worker::fill_hole(Process& owner, uint64_t page) {
    auto& space = owner.space;
    auto hole = owner.memory.lazily_mapped(GuestAddr(page));
    if (!hole) return space->wake(page);                                 // no longer: another touch will show
    OMX_DEBUG("{}: waits for {:#x}, which is {:#x} in its file", owner.pid.value, page, hole->from);
    hole->file->want(hole->from, hole->from + 1, [this, page, watched = std::weak_ptr(space)](Status got) {
        auto there = watched.lock();
        if (!there) return;
        if (got) return there->wake(page);
        for (auto& [pid, p] : guests_.processes())
            if (p->space == there) lose(*p, SYS_mmap, {}, got.error().what);
    });
}

// ---- fork ----

// The child is at its first stop. False: it has nothing to be watched.
bool Worker::watch_childs_mappings(Thread& child, const std::shared_ptr<LazySpace>& parents) {
    auto& p = *child.process;
    if (!parents->watching()) return false;
    for (auto& file : parents->files()) p.space->add(file);
    p.space->keep_only_mapped(maps_of(child.tid));
    if (!begin_injecting(child)) return true;
    auto stop_at = static_cast<uint64_t>(parents->number());             // its copy of the parent's
    inject(child, SYS_close, {stop_at}, [this](Thread& closed, int64_t) {
        if (closed.process->space->empty()) return end_injecting(closed, closed.injected->regs.rax);
        inject(closed, SYS_userfaultfd, {O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY},
               [this](Thread& t, int64_t number) { childs_mappings_watched(t, static_cast<int>(number)); });
    });
    return true;
}

void Worker::childs_mappings_watched(Thread& t, int number) {
    auto& space = *t.process->space;
    bool watched = watch_faults(t, number);
    for (auto& e : maps_of(t.tid))
        if (watched && space.file(e.id().device, e.inode)) watched = space.watch(e.start, e.end).has_value();
    if (!watched) return lose(*t.process, SYS_clone, {}, "this node can't watch the child's mapped files");
    end_injecting(t, t.injected->regs.rax);
}

// ---- calls whose buffers lie in a hole ----

// The call begins anew when the content is here, natively: signals that have come meanwhile are handled first.
void Worker::wait_for_content(Thread& t, uint64_t notification, const ProcessMemory::Missing& missing) {
    OMX_DEBUG("{}: its call needs {} bytes at {:#x} of a mapped file", t.tid.value, missing.end - missing.from,
              missing.from);
    t.site_to_rewrite = 0;
    t.content_wanted = ++last_wanted_;
    missing.file->want(missing.from, missing.end,
                       [this, tid = t.tid, wanted = t.content_wanted, notification](Status got) {
                           auto thread = guests_.thread(tid);
                           if (!thread || thread->content_wanted != wanted || thread->process->killed) return;
                           thread->content_wanted = 0;
                           if (!got) return lose(*thread->process, SYS_mmap, {}, got.error().what);
                           begin_again(*thread, notification);
                       });
}

void Worker::begin_again(Thread& t, uint64_t notification) {
    if (!notification) return rerun_held_call(t);
    t.goes_on_waiting = true;
    tracee::interrupt(t.tid);
    t.process->listener->answer(notification, -abi::kErestartNoIntr);
}

// ---- injected calls ----

// At a stop behind a system call instruction. Signals wait until the last of the calls is done: they would stop it.
bool Worker::begin_injecting(Thread& t) {
    InjectedCall call;
    uint16_t code = 0;
    auto& memory = t.process->memory;
    memory.through(t.tid);
    if (!tracee::registers(t.tid, call.regs) ||
        ptrace(PTRACE_GETSIGMASK, t.tid.value, sizeof call.mask, &call.mask) < 0)
        return false;                                                    // it is being killed
    memory.read(GuestAddr(call.regs.rip - 2), std::as_writable_bytes(std::span(&code, 1)));
    if (code != kSyscallInstruction) {                                   // changed since it was executed
        lose(*t.process, SYS_mmap, {}, "the call's instruction is gone");
        return false;
    }
    uint64_t all = ~uint64_t{0};
    ptrace(PTRACE_SETSIGMASK, t.tid.value, sizeof all, &all);
    t.injected = std::move(call);
    return true;
}

void Worker::inject(Thread& t, uint64_t nr, const CallArgs& args, Then then) {
    auto regs = t.injected->regs;
    regs.rax = nr;
    regs.orig_rax = ~uint64_t{0};
    regs.rdi = args[0], regs.rsi = args[1], regs.rdx = args[2];
    regs.r10 = args[3], regs.r8 = args[4], regs.r9 = args[5];
    regs.rip -= 2;
    t.injected->then = std::move(then);
    tracee::set_registers(t.tid, regs);
    tracee::request(PTRACE_SYSCALL, t.tid);                              // even while its process is frozen
}

// As if its own call had returned this.
void Worker::end_injecting(Thread& t, uint64_t rax) {
    auto regs = t.injected->regs;
    regs.rax = rax;
    regs.orig_rax = ~uint64_t{0};
    tracee::set_registers(t.tid, regs);
    ptrace(PTRACE_SETSIGMASK, t.tid.value, sizeof t.injected->mask, &t.injected->mask);
    t.injected.reset();
    resume(t);
}

void Worker::on_injected_stop(Thread& t, int status) {
    __ptrace_syscall_info info{};
    bool at_end = WSTOPSIG(status) == (SIGTRAP | 0x80) &&
                  ptrace(PTRACE_GET_SYSCALL_INFO, t.tid.value, sizeof info, &info) > 0 &&
                  info.op == PTRACE_SYSCALL_INFO_EXIT;
    // All signals are blocked: it can only be a fault at the instruction itself.
    if (status >> 16 == 0 && WSTOPSIG(status) != (SIGTRAP | 0x80))
        return lose(*t.process, SYS_mmap, {}, "the call's instruction is gone");
    if (!at_end) {                                                       // its beginning, or a freeze
        tracee::request(PTRACE_SYSCALL, t.tid);
        return;
    }
    auto then = std::move(t.injected->then);
    then(t, info.exit.rval);
}

void Worker::on_injected_call(Thread& t, uint64_t notification, uint32_t nr) {
    auto& p = *t.process;
    if (nr == SYS_mmap) {
        auto number = static_cast<int>(t.lazy_mapping->args[4]);
        if (auto put = p.listener->install(notification, t.lazy_mapping->file->reader(), number); !put) {
            if (put.error().code != ENOENT)
                lose(p, nr, t.lazy_mapping->args, fmt::format("{} (the node's limit of open files is too low?)",
                                                              put.error().what));
            return;
        }
        p.installed->insert(number);
    }
    p.listener->proceed(notification);
}

}  // namespace omx
