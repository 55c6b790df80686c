// The way home. A guest reaches a call that only home can make: its threads come to rest where they are, its image
// goes home, and what has been its deputy becomes the whole process again and makes the call itself.
//
//   at rest   every thread is in a ptrace stop. A call that home was making for a thread stays in flight there (F19);
//             the thread has left it with -ERESTARTNOINTR and shows that in its registers. Calls in which both halves
//             act (clone, exec, mmap of a file) are over first.
//   leave     home is told. Everything that it had sent before its answer, let_come, is seen to by then.
//   capture   registers and the rest of each thread, the layout of memory, signals that wait.
//   pages     in bulk, when home has mapped everything.
//   kill      home has it all: what is left here ends unseen.
#include "remote/homing.h"
#include "loader/blobs.h"
#include "loader/guest_capture.h"
#include "loader/task_status.h"
#include "loader/vdso_symbols.h"
#include "remote/call_sites.h"
#include "remote/debug.h"
#include "remote/worker.h"
#include <algorithm>
#include <csignal>
#include <elf.h>
#include <linux/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

namespace omx {
namespace {

constexpr size_t kRunBytes = 1 << 20, kQueueBytes = 4 << 20;

// Faults come again when the instruction is run again.
bool is_fault(const siginfo_t& info) {
    switch (info.si_signo) {
        case SIGSEGV: case SIGBUS: case SIGFPE: case SIGILL: case SIGTRAP: case SIGSYS: return info.si_code > 0;
        default: return false;
    }
}

}  // namespace

namespace {
// Gone, or a zombie.
bool has_ended(HomeTid tid) {
    auto state = TaskStatus(tid).state();
    return state == 0 || state == 'Z' || state == 'X';
}
}  // namespace

std::vector<uint64_t> shared_memory_of(HomePid pid) {
    std::vector<uint64_t> inodes;
    for (auto& e : maps_of(HomeTid(pid.value)))
        if (is_shared_anonymous(e) || is_shared_file(e)) inodes.push_back(e.inode);
    return inodes;
}

// ---- to rest ----

void Worker::bring_home(Process& p, const std::string& reason, const std::string& call) {
    if (p.homing || p.killed) return;
    std::vector<HomePid> all{p.pid};
    // A parent in vfork can't come to rest before its child is gone; the child brings nobody along, nor is brought.
    auto shared = p.lender.value ? std::vector<uint64_t>() : shared_memory_of(p.pid);
    for (size_t i = 0; !shared.empty() && i < all.size(); i++)
        for (auto& [pid, other] : guests_.processes()) {
            if (other->killed || other->lender.value || std::ranges::find(all, pid) != all.end()) continue;
            auto theirs = shared_memory_of(pid);
            if (std::ranges::find_first_of(theirs, shared) == theirs.end()) continue;
            all.push_back(pid);
            shared.insert(shared.end(), theirs.begin(), theirs.end());
        }
    for (auto pid : all) {
        auto& each = *guests_.process(pid);
        each.homing = std::make_unique<Homing>();
        each.homing->call = pid == p.pid ? call : "";
        each.homing->reason = pid == p.pid ? reason : fmt::format("it shares memory with {}: {}", p.pid.value, reason);
        each.homing->with = all;
        auto threads = each.threads;
        for (pid_t tid : threads)
            if (auto& t = *guests_.thread(HomeTid(tid)); !forget_ended_leader(t)) stop_for_home(t);
    }
}

// A main thread that has ended while others live never stops again, and its end is told with theirs only.
bool Worker::forget_ended_leader(Thread& t) {
    auto& p = *t.process;
    if (!t.exiting || t.call.id || t.tid.value != p.pid.value || guests_.living(p) == 0) return false;
    // Nothing tells of that moment either: its call has been let go on, and takes microseconds.
    while (!has_ended(t.tid)) sched_yield();
    guests_.remove_thread(t.tid);
    return true;
}

// Home wants it, whatever it is doing.
void Worker::on_come(const ComeFrame& frame) {
    auto p = guests_.process(frame.pid);
    if (!p && clone_) early_comes_.push_back(frame);
    if (!p || p->stage != Process::Stage::running) return;
    if (!p->landing) return bring_home(*p, frame.reason, "");
    p->landing->come = frame.reason;
    tracee::interrupt(HomeTid(p->pid.value));
}

// Whoever has just been built up runs code of ours for a moment, which isn't a part of it. That is over at its first
// call, or outside of it at a stop. True: this stop has been seen to, it is on its way a step further.
bool Worker::is_landing(Thread& t, int status) {
    auto& p = *t.process;
    user_regs_struct regs;
    if (!tracee::registers(t.tid, regs)) return false;
    auto inside = [&](auto& range) { return range.start <= regs.rip && regs.rip < range.end; };
    bool stepped = std::exchange(p.landing->stepped, false) && status >> 8 == SIGTRAP;
    if (std::ranges::any_of(p.landing->way_in, inside)) {
        if (!p.landing->come) return false;
        // An interrupt would come before the next instruction, a step over rt_sigreturn would leave its flag behind.
        if (status >> 16 == PTRACE_EVENT_SECCOMP) rest_behind_call(t);
        else p.landing->stepped = tracee::request(PTRACE_SINGLESTEP, t.tid);
        return true;
    }
    has_landed(p);
    if (stepped) resume(t);
    return stepped;
}

void Worker::has_landed(Process& p) {
    auto landed = *std::exchange(p.landing, std::nullopt);
    if (landed.come) bring_home(p, *landed.come, "");
}

void Worker::stop_for_home(Thread& t) {
    if (auto how = std::exchange(t.held, std::nullopt)) return rest(t, *how);      // its process is frozen
    tracee::interrupt(t.tid);
    auto& call = t.call;
    bool both_halves = call.both || call.nr == SYS_mmap || place_of(call.nr, call.args).place == Place::life;
    if (!call.id || !call.notification || both_halves) return;
    t.left_at_home = true;
    t.process->listener->answer(call.notification, -abi::kErestartNoIntr);
}

// A process that a guest on its way home has just made: it shares what its parent shares.
void Worker::join_homing(Process& parent, Process& child) {
    if (!parent.homing || child.lender.value || shared_memory_of(child.pid).empty()) return;
    auto all = parent.homing->with;
    all.push_back(child.pid);
    child.homing = std::make_unique<Homing>();
    child.homing->reason = fmt::format("it shares memory with {}: {}", parent.pid.value, parent.homing->reason);
    for (auto pid : all)
        if (auto p = guests_.process(pid); p && p->homing) p->homing->with = all;
}

// Instead of going on from a stop. A signal that was to be delivered goes home with it. Whose call has left over a lane has
// to hear its answer first: the island asks for the worker then.
void Worker::rest(Thread& t, Resume how) {
    if (t.process->lane.has_island && leave_island(t, false) == IslandMove::wait) {
        tracee::request(PTRACE_CONT, t.tid);
        return;
    }
    siginfo_t info{};
    begin_again_what_never_began(t);
    if (how.signal && tracee::signal_info(t.tid, info) && !is_fault(info)) t.undelivered.push_back({t.tid, info});
    t.at_rest = true;
    OMX_DEBUG("{}: at rest", t.tid.value);
    ask_to_leave(*t.process);
}

// Within a call, at its clone event say, its registers don't have the result yet, and what is put there is overwritten.
void Worker::rest_behind_call(Thread& t) {
    tracee::interrupt(t.tid);
    tracee::request(PTRACE_CONT, t.tid);
}

// Of a guest that has ended, or that executes another program: those who were to come with it don't wait for it.
void Worker::stays_behind(Process& p) {
    auto homing = std::move(p.homing);
    if (!homing) return;
    for (pid_t tid : p.threads)
        if (auto t = guests_.thread(HomeTid(tid))) t->at_rest = t->left_at_home = false;
    for (auto pid : homing->with)
        if (auto other = guests_.process(pid); other && other->homing) ask_to_leave(*other);
    if (std::ranges::none_of(guests_.processes(), [](auto& other) { return other.second->homing != nullptr; }))
        shared_sent_.clear();
}

void Worker::ask_to_leave(Process& p) {
    auto at_rest = [&](HomePid pid) {
        auto each = guests_.process(pid);
        return !each || each->killed || !each->homing ||
               std::ranges::all_of(each->threads, [&](pid_t tid) { return guests_.thread(HomeTid(tid))->at_rest; });
    };
    auto with = p.homing->with;
    if (!std::ranges::all_of(with, at_rest)) return;
    tell_shared();
    for (auto pid : with) {
        auto each = guests_.process(pid);
        if (!each || each->killed || !each->homing || each->homing->step != Homing::Step::stopping) continue;
        each->homing->step = Homing::Step::asked;
        link_.send(FrameType::leave, 0, LeaveFrame{pid, each->homing->reason, each->homing->call});
    }
}

// Home's answer to a call that its thread has left already.
void Worker::answer_at_rest(Thread& t, const ReplyHead& head) {
    call_over(t);
    t.answered = head;
}

// ---- its image ----

void Worker::on_let_come(const KillFrame& frame) {
    auto p = guests_.process(frame.pid);
    if (!p || p->killed || !p->homing || p->homing->step != Homing::Step::asked) return;
    p->homing->step = Homing::Step::captured;
    if (auto sent = send_home(*p); !sent) cannot_go_home(*p, sent.error().what);
}

// Neither here nor there: until other nodes take such a guest it ends, with the reason.
void Worker::cannot_go_home(Process& p, std::string_view why) {
    OMX_DEBUG("{}: can't go home: {}", p.pid.value, why);
    if (!p.lost) p.lost.emplace(fmt::format("{}, but it can't come home: {}", p.homing->reason, why), p.homing->call);
    kill_guest(p);
}

Status Worker::send_home(Process& p) {
    HomeTid through(*p.threads.begin());
    turn_lane_off(p);
    put_sites_back(p);
    p.homing->monotonic = clocks_.monotonic();
    OMX_TRY(step_out_of_vdso(p));
    auto capture = capture_guest(p.pid, through, [this](FileId id) { return file_of(id); });
    if (!capture) return std::unexpected(capture.error());
    auto& image = capture->image;
    for (bool leader : {true, false})
        for (pid_t tid : p.threads)
            if ((tid == p.pid.value) == leader) image.threads.push_back(state_of(*guests_.thread(HomeTid(tid))));
    image.borrows = guests_.process(p.lender) != nullptr;
    collect_pending(p, image);
    collect_cpu_timers(p, image);
    auto locked = [](auto& g) { return g.traits & trait::locked; };     // munlockall, of which nobody tells, ends it
    if (std::ranges::any_of(image.regions, locked)) image.locks_future = p.locks_future;
    OMX_TRY(ask_the_kernel(p, *capture));
    drop_shared_sent_before(*capture);
    p.homing->own = std::move(capture->own);
    p.homing->regions = image.regions;
    p.homing->files = image.files;
    Bytes body = encode_frame(image);
    if (body.size() > kMaxFrameBytes / 2) return fail("its memory has too many pieces");
    link_.send(FrameType::homecoming, 0, HomecomingFrame{p.pid, p.homing->monotonic, View(body)});
    return {};
}

// This kernel's vDSO stays here, and none of its functions takes long. (Ours, which calls it, is the same at home.)
Status Worker::step_out_of_vdso(Process& p) {
    constexpr int kMostSteps = 10'000;
    auto maps = maps_of(HomeTid(*p.threads.begin()));
    auto vdso = std::ranges::find(maps, "[vdso]", &MapsEntry::path);
    if (vdso == maps.end()) return {};
    for (pid_t tid : p.threads) {
        user_regs_struct regs;
        uint64_t mask = 0, all = ~uint64_t{0};
        auto inside = [&] {
            return tracee::registers(HomeTid(tid), regs) && regs.rip >= vdso->start && regs.rip < vdso->end;
        };
        if (!inside()) continue;
        if (ptrace(PTRACE_GETSIGMASK, tid, sizeof mask, &mask) != 0 ||
            ptrace(PTRACE_SETSIGMASK, tid, sizeof all, &all) != 0)
            return fail_errno("its signals can't be held");
        for (int steps = 0; inside(); steps++)
            if (int status = 0; steps == kMostSteps || !tracee::request(PTRACE_SINGLESTEP, HomeTid(tid)) ||
                                waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status))
                return fail("a thread doesn't come out of the node's vDSO");
        ptrace(PTRACE_SETSIGMASK, tid, sizeof mask, &mask);
    }
    return {};
}

// What was rewritten becomes what it was: a frame on the guest's stack may still lead into the island, new calls don't.
void Worker::put_sites_back(Process& p) {
    auto& sites = p.lane.sites;
    p.memory.through(HomeTid(*p.threads.begin()));
    for (unsigned i = 0; i < sites.size(); i++) {
        std::array<std::byte, OMX_SITE_BYTES> original{std::byte{0x0f}, std::byte{0x05}};
        auto compare = std::span(original).subspan(2);
        if (p.memory.read(stub_address(i) + OMX_STUB_DONE, compare) == compare.size())
            p.memory.write_forced(GuestAddr(sites[i]), View(original));
    }
    sites.clear();
}

// Registers and all that the kernel tells of a stopped thread.
ThreadState Worker::state_of(Thread& t) {
    ThreadState s;
    s.tid = t.tid;
    iovec io{&s.regs, sizeof s.regs};
    ptrace(PTRACE_GETREGSET, t.tid.value, NT_PRSTATUS, &io);
    s.xstate.resize(16384);
    io = {s.xstate.data(), s.xstate.size()};
    s.xstate.resize(ptrace(PTRACE_GETREGSET, t.tid.value, NT_X86_XSTATE, &io) == 0 ? io.iov_len : 0);
    ptrace(PTRACE_GETSIGMASK, t.tid.value, sizeof s.blocked, &s.blocked);
    abi::RseqConfiguration rseq{};
    if (ptrace(static_cast<__ptrace_request>(abi::kGetRseqConfiguration), t.tid.value, sizeof rseq, &rseq) > 0)
        s.rseq = rseq.pointer, s.rseq_size = rseq.size, s.rseq_signature = rseq.signature;
    uint64_t head = 0;
    size_t bytes = 0;
    if (syscall(SYS_get_robust_list, t.tid.value, &head, &bytes) == 0)
        s.robust_list = head, s.robust_list_size = bytes;
    s.call = t.left_at_home ? t.call.id : 0;
    if (t.answered) {
        s.regs.rax = static_cast<uint64_t>(t.answered->restart ? -int64_t{t.answered->restart} : t.answered->result);
        if (!t.answered->restart) s.regs.orig_rax = ~uint64_t{0};
    }
    // A wait that this kernel would resume by itself: home's begins it anew, unless a handler ends it with EINTR or it is
    // a sleep of which we know what is left.
    bool in_call = static_cast<int64_t>(s.regs.orig_rax) >= 0;
    if (in_call && static_cast<int64_t>(s.regs.rax) == -abi::kErestartBlock) {
        s.regs.rax = static_cast<uint64_t>(-int64_t{abi::kErestartNoHand});
        rest_of_sleep(t, s);
    }
    abort_restartable_sequence(t, s);
    return s;
}

// How long it will be is in the registers' struct now; when it began is known to the kernel alone later on.
void Worker::note_sleep(Thread& t, uint32_t nr, const CallArgs& args) {
    using namespace std::chrono;
    bool of_clock = nr == SYS_clock_nanosleep;
    timespec length{};
    t.process->memory.through(t.tid);
    auto bytes = std::as_writable_bytes(std::span(&length, 1));
    t.sleep.reset();
    if (t.process->memory.read(GuestAddr(args[of_clock ? 2 : 0]), bytes) != bytes.size()) return;
    constexpr int64_t longest = 3'000'000'000;                    // seconds: longer than anybody waits
    if (length.tv_sec < 0 || length.tv_sec > longest || length.tv_nsec < 0 || length.tv_nsec > 999'999'999) return;
    auto clock = static_cast<int32_t>(args[0]);
    if (of_clock && (clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID)) return;
    t.sleep = {t.call_site, args, steady_clock::now() + seconds(length.tv_sec) + nanoseconds(length.tv_nsec),
               args[of_clock ? 3 : 1]};
}

void Worker::rest_of_sleep(const Thread& t, ThreadState& s) {
    using namespace std::chrono;
    auto& r = s.regs;
    bool same = t.sleep && r.rip == t.sleep->site &&
                CallArgs{r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9} == t.sleep->args;
    if (!same) return;
    auto left = duration_cast<nanoseconds>(t.sleep->until - steady_clock::now()).count();
    s.sleep_ns = static_cast<uint64_t>(std::max<int64_t>(left, 1));
    s.sleep_rest = t.sleep->rest;
}

// A thread that was stopped within a restartable sequence goes on at its abort address: where it runs is another place.
void Worker::abort_restartable_sequence(Thread& t, ThreadState& s) {
    uint64_t descriptor = 0;
    struct { uint32_t version, flags; uint64_t start, bytes, abort; } sequence{};
    auto& memory = t.process->memory;
    memory.through(t.tid);
    constexpr uint64_t kDescriptorAt = 8;                   // struct rseq: cpu_id_start, cpu_id, rseq_cs
    auto read = [&](uint64_t at, auto& into) {
        return memory.read(GuestAddr(at), std::as_writable_bytes(std::span(&into, 1))) == sizeof into;
    };
    if (!s.rseq || !read(s.rseq + kDescriptorAt, descriptor) || !descriptor || !read(descriptor, sequence)) return;
    if (s.regs.rip - sequence.start < sequence.bytes) s.regs.rip = sequence.abort;
}

// Signals that were sent here and that no thread has taken.
void Worker::collect_pending(Process& p, Image& image) {
    auto add = [&](HomeTid of, siginfo_t info) {
        real_siginfo(p, of, info);
        image.pending.push_back({of, info});
    };
    auto peek = [&](HomeTid tid, uint32_t flags, HomeTid of) {
        siginfo_t info{};
        for (uint64_t at = 0;; at++) {
            struct { uint64_t offset; uint32_t flags; int32_t count; } which{at, flags, 1};
            if (ptrace(static_cast<__ptrace_request>(PTRACE_PEEKSIGINFO), tid.value, &which, &info) != 1) return;
            add(of, info);
        }
    };
    peek(HomeTid(*p.threads.begin()), PTRACE_PEEKSIGINFO_SHARED, HomeTid());
    for (pid_t tid : p.threads) {
        auto& t = *guests_.thread(HomeTid(tid));
        peek(t.tid, 0, t.tid);
        for (auto& s : t.undelivered) image.pending.push_back(s);
        for (auto& s : t.held_back) image.pending.push_back(s);
    }
}

// What only the process itself can ask: where its heap ends, each thread's alternate stack and exit word.
Status Worker::ask_the_kernel(Process& p, GuestCapture& capture) {
    auto& image = capture.image;
    if (!p.system_call || !capture.scratch) return fail("it has no memory that could be written to");
    uint64_t instruction = p.system_call, scratch = capture.scratch;
    std::array<std::byte, 64> before{};
    p.memory.through(HomeTid(*p.threads.begin()));
    if (p.memory.read(GuestAddr(scratch), before) != before.size()) return fail("its memory can't be read");
    auto first = guests_.thread(HomeTid(*p.threads.begin()));
    if (auto brk = make_call(*first, instruction, SYS_brk, {0}); brk && *brk > 0)
        image.mm.brk = std::max(image.mm.start_brk, static_cast<uint64_t>(*brk));
    auto asked = [&](Thread& t, auto& into, uint64_t nr, const CallArgs& args) {
        auto result = make_call(t, instruction, nr, args);
        p.memory.through(t.tid);
        return result && *result == 0 &&
               p.memory.read(GuestAddr(scratch), std::as_writable_bytes(std::span(&into, 1))) == sizeof into;
    };
    for (auto& s : image.threads) {
        auto& t = *guests_.thread(s.tid);
        stack_t stack{};
        uint64_t word = 0;
        if (!asked(t, stack, SYS_sigaltstack, {0, scratch}))
            return fail("its alternate signal stack can't be asked for");
        s.altstack_sp = reinterpret_cast<uint64_t>(stack.ss_sp), s.altstack_size = stack.ss_size;
        s.altstack_flags = stack.ss_flags & ~SS_ONSTACK;
        if (asked(t, word, SYS_prctl, {PR_GET_TID_ADDRESS, scratch})) s.clear_child_tid = word;
    }
    p.memory.through(HomeTid(*p.threads.begin()));
    if (p.memory.write(GuestAddr(scratch), before) != before.size()) return fail("its memory can't be written");
    return {};
}

// Makes a thread at rest make a call that its filter lets through, here and now: nothing else of its process goes on. It
// doesn't go on from there afterwards, its registers have been taken before.
std::optional<int64_t> Worker::make_call(Thread& t, uint64_t instruction, uint64_t nr, const CallArgs& args) {
    user_regs_struct regs;
    uint64_t all = ~uint64_t{0};
    if (!tracee::registers(t.tid, regs) || ptrace(PTRACE_SETSIGMASK, t.tid.value, sizeof all, &all) != 0)
        return std::nullopt;
    regs.rip = instruction, regs.rax = nr, regs.orig_rax = ~uint64_t{0};
    regs.rdi = args[0], regs.rsi = args[1], regs.rdx = args[2], regs.r10 = args[3];
    if (!tracee::set_registers(t.tid, regs)) return std::nullopt;
    // An interrupt that was still pending stops it once more before the instruction.
    for (int tries = 0; tries < 4; tries++) {
        int status = 0;
        if (!tracee::request(PTRACE_SINGLESTEP, t.tid) || waitpid(t.tid.value, &status, __WALL) != t.tid.value ||
            !WIFSTOPPED(status) || !tracee::registers(t.tid, regs))
            return std::nullopt;
        if (regs.rip == instruction + 2) return static_cast<int64_t>(regs.rax);
    }
    return std::nullopt;
}

// Memory that several processes share goes home with the first of them, page by page, however they have mapped it: when
// the others' turn comes the first may have written to it at home.
void Worker::drop_shared_sent_before(GuestCapture& capture) {
    for (auto& g : capture.image.regions) {
        if (g.kind != RegionKind::shared_anonymous) continue;
        auto& sent = shared_sent_[capture.image.files[static_cast<size_t>(g.file)].inode];
        std::erase_if(capture.own, [&](auto& r) { return r.start == g.start; });
        uint64_t end = g.file_offset + (g.end - g.start);
        for (auto [from, to] : sent.within(g.file_offset, end))
            capture.own.push_back({g.start + (from - g.file_offset), g.start + (to - g.file_offset), true});
        sent.take(g.file_offset, end);
    }
}

// By the child of a vfork that has gone home, into the memory that its parent will go on with here.
void Worker::on_written(const PagesFrame& pages) {
    auto p = guests_.process(pages.pid);
    if (!p || p->killed || !p->homing || p->homing->step != Homing::Step::sent) return;
    p->memory.through(HomeTid(*p->threads.begin()));
    if (!p->memory.write_forced(GuestAddr(pages.address), pages.data))
        OMX_DEBUG("{}: {:x} can't be written", pages.pid.value, pages.address);
}

// ---- its pages ----

// Of files that home can't map, everything travels.
void Worker::on_ready(const ReadyFrame& ready) {
    auto p = guests_.process(ready.pid);
    if (!p || p->killed || !p->homing || p->homing->step != Homing::Step::captured) return;
    auto& h = *p->homing;
    for (auto& g : h.regions) {
        bool whole = g.file >= 0 && std::ranges::find(ready.whole, static_cast<uint32_t>(g.file)) != ready.whole.end();
        if (!whole) continue;
        auto& key = h.files[static_cast<size_t>(g.file)];
        bool holes = std::ranges::any_of(p->space->files(), [&](auto& f) { return f->key().same_content(key); });
        if (holes) return cannot_go_home(*p, "a big file that it maps can't be opened at home any more");
        std::erase_if(h.own, [&](auto& r) { return r.start == g.start; });
        h.own.push_back({g.start, g.end, true});
    }
    auto pages = PageSource::open(HomeTid(*p->threads.begin()), std::move(h.own));
    if (!pages) return cannot_go_home(*p, pages.error().what);
    h.pages = std::move(*pages);
    h.step = Homing::Step::sending;
    sending_.push_back(p->pid);
    send_pages();
}

// In every turn of the loop, as far as the link takes them.
void Worker::send_pages() {
    std::erase_if(sending_, [&](HomePid pid) {
        auto p = guests_.process(pid);
        while (p && p->homing && !p->killed && p->homing->step == Homing::Step::sending) {
            if (link_.queued_bytes() >= kQueueBytes) return false;
            auto run = p->homing->pages->next(kRunBytes);
            if (!run) cannot_go_home(*p, run.error().what);
            else if (*run) link_.send(FrameType::pages, 0, PagesFrame{pid, (*run)->address, false, View((*run)->bytes)},
                                      Link::Priority::bulk);
            else p->homing->step = Homing::Step::sent;
            if (p->homing->step == Homing::Step::sent)
                link_.send(FrameType::pages, 0, PagesFrame{.pid = pid, .last = true}, Link::Priority::bulk);
        }
        return true;
    });
}

}  // namespace omx
