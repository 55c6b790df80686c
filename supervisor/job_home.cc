// A guest comes home (remote/homing.cc is the node's half): its deputy gets the memory back and is the whole process
// again. Its memory: the deputy maps everything itself, by operations in its slots; contents are written by the
// supervisor as a debugger does. Its threads: job_threads_home.cc.
#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <fcntl.h>
#include <filesystem>

#include "loader/capture.h"
#include "loader/node_vdso.h"
#include "loader/proc_files.h"
#include "loader/restore.h"
#include "loader/vdso_symbols.h"
#include "supervisor/home_clocks.h"
#include "supervisor/job.h"

namespace omx {

namespace {
constexpr size_t kOpsPerPost = 48, kFilesPerPost = 32;
constexpr int64_t kSecond = 1'000'000'000, kLongestHold = 60 * kSecond;
using Ops = std::vector<SlotOp>;
using Step = Homecoming::Step;

bool is_error(int64_t result) { return result < 0 && result > -4096; }

uint64_t arg(int value) { return static_cast<uint64_t>(static_cast<int64_t>(value)); }

// Regions as the deputy maps them. `fd` is in its own table.
SlotOp map_op(const Region& g, int fd) {
    uint64_t flags = MAP_FIXED_NOREPLACE;
    bool shared = g.kind == RegionKind::shared_anonymous || g.kind == RegionKind::shared_file;
    flags |= shared && fd >= 0 ? MAP_SHARED : MAP_PRIVATE;
    if (fd < 0) flags |= MAP_ANONYMOUS;
    if (g.traits & trait::no_reserve) flags |= MAP_NORESERVE;
    if (g.traits & trait::grows_down) flags |= MAP_GROWSDOWN;
    return op(SYS_mmap, {g.start, g.end - g.start, g.prot, flags, arg(fd), fd < 0 ? 0 : g.file_offset});
}

bool overlaps(const Region& g, uint64_t start, uint64_t end) { return g.start < end && start < g.end; }

// The deputy's own places must be free in the process, or it can't get out of them.
bool meets_deputy(const Region& g) {
    return overlaps(g, OMX_BLOB_BASE, OMX_BLOB_BASE + OMX_BLOB_BYTES) ||
           overlaps(g, OMX_SLOTS_BASE, OMX_SLOTS_BASE + OMX_SLOTS_SPAN) ||
           overlaps(g, OMX_BIG_BASE, OMX_BIG_BASE + OMX_BIG_SPAN);
}

// It has closed itself to others of its user, as ssh-agent does: to its tracer, too, unless that is privileged.
bool is_closed(HomeTid tid) {
    UniqueFd memory(open(fmt::format("/proc/{}/mem", tid.value).c_str(), O_RDWR | O_CLOEXEC));
    return !memory && (errno == EACCES || errno == EPERM);
}

// Ancillary data for one message of descriptors.
struct FileMessage {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kFilesPerPost)];
};

// How the deputy receives one, in its own memory.
struct Inbox {
    msghdr header;
    iovec io;
    uint64_t byte;
    FileMessage message;
};
}  // namespace

// ---- frames ----

void Job::on_leave(const LeaveFrame& leave) {
    auto p = process(leave.pid);
    if (!p || !p->away || p->homecoming || p->image_on_its_way) return;
    p->homecoming = std::make_unique<Homecoming>();
    p->homecoming->reason = leave.reason;
    p->homecoming->call = leave.call;
    for (auto& [tid, t] : p->threads)
        if (t->state == Thread::State::idle && t->active_for_guest()) keep_result(*t);
    link_.send(FrameType::let_come, 0, KillFrame{p->pid});
}

void Job::on_homecoming(const HomecomingFrame& frame) {
    auto p = process(frame.pid);
    if (!p || !p->homecoming || p->homecoming->image || p->kill_sent) return;
    auto& h = *p->homecoming;
    h.body.assign(frame.image.begin(), frame.image.end());
    h.monotonic = frame.monotonic;
    auto image = Image::decode(View(h.body));
    if (!image) return link_lost(image.error());
    h.image = std::move(*image);
    if (h.image->pid != p->pid) return link_lost({"the node sent another process's image home"});
    if (p->wanted_home) leave_calls(*p, Leaving::all);
    note_sleeps(*p);
    note_borrowed(h);
    make_room(*p);
}

void Job::on_pages(const PagesFrame& pages) {
    auto p = process(pages.pid);
    if (!p || !p->homecoming || p->homecoming->step != Step::filling || p->kill_sent) return;
    auto& h = *p->homecoming;
    auto end = pages.address + pages.data.size();
    auto inside = [&](const Region& g) {
        return g.start <= pages.address && end <= g.end && g.kind != RegionKind::vdso;
    };
    if (!pages.data.empty()) {
        if (std::ranges::none_of(h.image->regions, inside))
            return link_lost({"the node sent memory home that the process doesn't have"});
        h.bytes += pages.data.size();
        if (!fill(h, pages.address, pages.data)) return cannot_come_home(*p, "its memory can't be written");
        if (h.borrowed) note_pages(*h.borrowed, pages);
    }
    if (!pages.last) return;
    h.all_here = true;
    go_on_when_due(*p);
}

// The node's clock may have run a little faster than ours since the job began, and no clock goes back, the coarse ones
// included, which are some milliseconds behind.
void Job::go_on_when_due(Process& p) {
    timespec shown{};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &shown);
    int64_t early = p.homecoming->monotonic - (shown.tv_sec * kSecond + shown.tv_nsec);
    if (early <= 0 || early > kLongestHold) return memory_is_whole(p);
    if (!due_.ring_in(std::chrono::nanoseconds(early))) return memory_is_whole(p);
    early_.push_back(p.pid);
}

void Job::go_on_who_is_due() {
    for (auto pid : std::exchange(early_, {}))
        if (auto p = process(pid); p && p->homecoming && p->homecoming->all_here && !p->kill_sent)
            go_on_when_due(*p);
}

bool Job::fill(const Homecoming& h, uint64_t address, View data) {
    return pwrite(h.memory.get(), data.data(), data.size(), static_cast<off_t>(address)) ==
           static_cast<ssize_t>(data.size());
}

void Job::cannot_come_home(Process& p, std::string_view why) {
    auto line = fmt::format("{} can't come home ({}): {}", p.program, p.homecoming->reason, why);
    p.homecoming.reset();
    end_guest_with_line(p, line);
}

// ---- memory ----

// Begins as soon as a thread of the deputy is free; the one that made the call which can only be made here is.
void Job::make_room(Process& p) {
    auto& h = *p.homecoming;
    if (h.step != Step::announced || !h.image) return;
    Thread* lead = nullptr;
    size_t threads = 0;
    for (auto& [tid, t] : p.threads) {
        if (t->state == Thread::State::ended) continue;
        threads++;
        if (!h.state_of(tid)) return cannot_come_home(p, fmt::format("thread {} is not in its image", tid.value));
        if (t->state == Thread::State::idle && !t->active) lead = t.get();
    }
    if (threads != h.image->threads.size()) return cannot_come_home(p, "its threads are not those of its image");
    if (!lead) return;
    h.step = Step::mapping;
    h.lead = lead->tid;
    h.opened = is_closed(h.lead);
    if (h.opened) h.work.push_back([] { return Ops{op(SYS_prctl, {PR_SET_DUMPABLE, 1})}; });
    h.work.push_back([this, &p]() -> Result<Ops> {
        OMX_TRY(plan_mapping(p));
        return Ops{};
    });
    lead_on(p);
}

Status Job::plan_mapping(Process& p) {
    auto& h = *p.homecoming;
    auto& regions = h.image->regions;
    for (auto& g : regions)
        if (meets_deputy(g)) return fail(fmt::format("memory at {:x} is where its deputy's is", g.start));
    auto dir = ProcDir::open(HomePid(h.lead.value));
    if (!dir) return std::unexpected(dir.error());
    auto memory = dir->open_file("mem", O_RDWR);
    if (!memory) return std::unexpected(memory.error());
    h.memory = std::move(*memory);
    auto text = dir->read_text("maps");
    if (!text) return std::unexpected(text.error());
    auto maps = parse_maps(*text);
    if (!maps) return std::unexpected(maps.error());
    OMX_TRY(plan_vdso(p, *maps));
    Ops plain;
    for (auto& g : regions) {
        if (g.kind == RegionKind::stack) OMX_TRY(plan_stack(*maps, g, plain));
        else if (g.file < 0) plain.push_back(map_op(g, -1));
    }
    plan_ops(h, std::move(plain));
    OMX_TRY(plan_files(p));
    plan_traits(p);
    OMX_TRY(plan_layout(p, *dir));
    plan_cpu_timers(p);
    return {};
}

void Job::plan_ops(Homecoming& h, Ops ops) {
    for (size_t at = 0; at < ops.size(); at += kOpsPerPost) {
        Ops some(ops.begin() + static_cast<ptrdiff_t>(at),
                 ops.begin() + static_cast<ptrdiff_t>(std::min(ops.size(), at + kOpsPerPost)));
        h.work.push_back([some = std::move(some)] { return some; });
    }
}

// The machine's own vDSO makes room for ours, to whose functions the process has pointers.
Status Job::plan_vdso(Process& p, const std::vector<MapsEntry>& maps) {
    auto& h = *p.homecoming;
    auto& vdso = node_vdso();
    auto at = std::ranges::find(maps, "[vdso]", &MapsEntry::path);
    if (vdso.pieces.empty() || at == maps.end()) return fail("this kernel's vDSO can't be moved");
    auto to = place_for_vdso(*h.image, at->start + static_cast<uint64_t>(vdso.pieces.front().at), vdso.bytes);
    if (!to) return fail("there is no room for this kernel's vDSO");
    Ops ops;
    for (auto& piece : vdso.pieces) {
        uint64_t from = at->start + static_cast<uint64_t>(piece.at);
        uint64_t target = *to + static_cast<uint64_t>(piece.at - vdso.pieces.front().at);
        ops.push_back(op(SYS_mremap, {from, piece.bytes, piece.bytes, MREMAP_MAYMOVE | MREMAP_FIXED, target, 0}));
    }
    h.vdso_at = *to - static_cast<uint64_t>(vdso.pieces.front().at);
    plan_ops(h, std::move(ops));
    return {};
}

// The stack is still there, with the pages that `ps` shows. It grows by being touched, as every stack.
Status Job::plan_stack(const std::vector<MapsEntry>& maps, const Region& g, Ops& ops) {
    auto here = std::ranges::find(maps, "[stack]", &MapsEntry::path);
    if (here == maps.end() || here->end != g.end) return fail("its stack is not where it was");
    if (g.start < here->start) ops.push_back(op(SYS_clock_gettime, {CLOCK_MONOTONIC, g.start}));
    ops.push_back(op(SYS_madvise, {g.start, g.end - g.start, MADV_DONTNEED}));
    if (g.prot != here->prot) ops.push_back(op(SYS_mprotect, {g.start, g.end - g.start, g.prot}));
    return {};
}

Result<int> Job::file_for(Process& p, const FileKey& key, uint64_t bytes) {
    if (auto shared = shared_.find(key.handle); shared && shared->inode == key.inode) return shared->fd.get();
    if (key.device != 0) return kept_.find(p.pid, key);
    auto& memory = shared_memory_[key.inode];
    if (!memory) memory.reset(memfd_create("shared", MFD_CLOEXEC));
    struct stat st;
    if (!memory || fstat(memory.get(), &st) < 0) return fail_errno("shared memory");
    if (static_cast<uint64_t>(st.st_size) < bytes && ftruncate(memory.get(), static_cast<off_t>(bytes)) < 0)
        return fail_errno("shared memory");
    return memory.get();
}

namespace {
bool of_file(const Region& g, uint32_t file) { return g.file == static_cast<int32_t>(file); }

bool mapped_shared(const Image& image, uint32_t file) {
    return std::ranges::any_of(image.regions, [&](auto& g) {
        bool shared = g.kind == RegionKind::shared_anonymous || g.kind == RegionKind::shared_file;
        return shared && of_file(g, file);
    });
}

bool is_readers(const Region& g) { return g.kind == RegionKind::shared_file && (g.traits & trait::never_written); }

// What can't be opened again is mapped by the descriptor that there is.
int reader_of(Homecoming& h, int fd) {
    UniqueFd reader(open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!reader) return fd;
    return h.readers.emplace_back(std::move(reader)).get();
}

// Its table may be full, of what is the program's own. False: then of what it has mapped privately the pages travel.
bool make_room_for_descriptors(const DeputyProcess& p, rlimit& before) {
    pid_t pid = p.pid.value;
    if (prlimit(pid, RLIMIT_NOFILE, nullptr, &before) < 0) return false;
    constexpr rlim_t wanted = kFilesPerPost + 3;
    auto hard = before.rlim_max == RLIM_INFINITY ? before.rlim_max : before.rlim_max + wanted;
    rlimit more{hard, hard}, most{before.rlim_max, before.rlim_max};
    // To raise the hard one takes a privilege.
    if (prlimit(pid, RLIMIT_NOFILE, &more, nullptr) == 0) return true;
    prlimit(pid, RLIMIT_NOFILE, &most, nullptr);
    std::error_code gone;
    std::filesystem::directory_iterator numbers(fmt::format("/proc/{}/fd", pid), gone);
    auto open = static_cast<rlim_t>(std::distance(begin(numbers), end(numbers)));
    return before.rlim_max - std::min(before.rlim_max, open) >= wanted;
}
}  // namespace

// Descriptors reach the deputy over a socket pair of its own: that needs no right but ptrace's and no path.
Status Job::plan_files(Process& p) {
    auto& h = *p.homecoming;
    FilesToHand files;
    rlimit before{};
    bool room = make_room_for_descriptors(p, before);
    for (uint32_t i = 0; i < h.image->files.size(); i++) {
        uint64_t bytes = 0;
        for (auto& g : h.image->regions)
            if (g.file == static_cast<int32_t>(i)) bytes = std::max(bytes, g.file_offset + (g.end - g.start));
        auto fd = file_for(p, h.image->files[i], bytes);
        if (!fd) return std::unexpected(fd.error());
        if (!room && !mapped_shared(*h.image, i)) *fd = -1;
        if (*fd >= 0) files.push_back({i, *fd, false});
        else h.whole.push_back(i);
        bool read = std::ranges::any_of(h.image->regions, [&](auto& g) { return is_readers(g) && of_file(g, i); });
        if (*fd >= 0 && read) files.push_back({i, reader_of(h, *fd), true});
    }
    Ops whole;
    for (auto& g : h.image->regions)
        if (g.file >= 0 && std::ranges::find(h.whole, static_cast<uint32_t>(g.file)) != h.whole.end())
            whole.push_back(map_op(g, -1));
    plan_ops(h, std::move(whole));
    auto as_before = [&p, before] {
        prlimit(p.pid.value, RLIMIT_NOFILE, &before, nullptr);
        return Ops{};
    };
    if (files.empty()) return as_before(), Status{};
    auto& lead = *thread(h.lead);
    h.work.push_back([this, &lead] {
        int none[2] = {-1, -1};
        return Ops{op(SYS_socketpair, {AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, own_data(lead, none, sizeof none)})};
    });
    h.work.push_back([this, &p] { return take_file_socket(p); });
    for (size_t at = 0; at < files.size(); at += kFilesPerPost) {
        FilesToHand some(
            files.begin() + static_cast<ptrdiff_t>(at),
            files.begin() + static_cast<ptrdiff_t>(std::min(files.size(), at + kFilesPerPost)));
        h.work.push_back([this, &p, some] { return hand_files(p, some); });
        h.work.push_back([this, &p, some] { return map_files(p, some); });
    }
    h.work.push_back([&h] { return Ops{op(SYS_close, {arg(h.files_at)})}; });
    h.work.push_back(as_before);
    return {};
}

Result<std::vector<SlotOp>> Job::take_file_socket(Process& p) {
    auto& h = *p.homecoming;
    int ends[2];
    auto& lead = *thread(h.lead);
    std::memcpy(ends, in_slot(lead, own_place(lead), sizeof ends), sizeof ends);
    h.files_at = ends[0];
    auto end = borrow_descriptor(lead, ends[1]);
    if (!end) return fail(fmt::format("its files can't be handed over: {}", end.error().what));
    h.files_to = std::move(*end);
    return Ops{op(SYS_close, {arg(ends[1])})};
}

Result<std::vector<SlotOp>> Job::hand_files(Process& p, const FilesToHand& files) {
    auto& h = *p.homecoming;
    FileMessage message{};
    char byte = 0;
    iovec io{&byte, 1};
    msghdr header{};
    header.msg_iov = &io, header.msg_iovlen = 1;
    header.msg_control = message.control, header.msg_controllen = CMSG_SPACE(sizeof(int) * files.size());
    auto c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof(int) * files.size());
    for (size_t i = 0; i < files.size(); i++)
        std::memcpy(CMSG_DATA(c) + i * sizeof(int), &files[i].fd, sizeof(int));
    if (sendmsg(h.files_to.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT) != 1)
        return fail_errno("its files can't be handed over");
    Inbox inbox{};
    uint64_t at = own_place(*thread(h.lead));
    inbox.header.msg_iov = reinterpret_cast<iovec*>(at + offsetof(Inbox, io));
    inbox.header.msg_iovlen = 1;
    inbox.header.msg_control = reinterpret_cast<void*>(at + offsetof(Inbox, message));
    inbox.header.msg_controllen = sizeof inbox.message.control;
    inbox.io = {reinterpret_cast<void*>(at + offsetof(Inbox, byte)), 1};
    own_data(*thread(h.lead), &inbox, sizeof inbox);
    return Ops{op(SYS_recvmsg, {arg(h.files_at), at, MSG_CMSG_CLOEXEC})};
}

Result<std::vector<SlotOp>> Job::map_files(Process& p, const FilesToHand& files) {
    auto& h = *p.homecoming;
    Inbox inbox;
    auto& lead = *thread(h.lead);
    std::memcpy(&inbox, in_slot(lead, own_place(lead), sizeof inbox), sizeof inbox);
    cmsghdr c;
    std::memcpy(&c, inbox.message.control, sizeof c);
    if ((inbox.header.msg_flags & MSG_CTRUNC) || c.cmsg_len != CMSG_LEN(sizeof(int) * files.size()))
        return fail("it has no room for more descriptors (ulimit -n)");
    Ops maps, closes;
    for (size_t i = 0; i < files.size(); i++) {
        int number;
        std::memcpy(&number, inbox.message.control + CMSG_LEN(0) + i * sizeof(int), sizeof number);
        for (auto& g : h.image->regions)
            if (of_file(g, files[i].index) && is_readers(g) == files[i].for_readers)
                maps.push_back(map_op(g, number));
        closes.push_back(op(SYS_close, {arg(number)}));
    }
    maps.insert(maps.end(), closes.begin(), closes.end());
    // In front of what comes next; the first part now.
    for (size_t end = maps.size(); end > kOpsPerPost;) {
        size_t begin = (end - 1) / kOpsPerPost * kOpsPerPost;
        Ops some(maps.begin() + static_cast<ptrdiff_t>(begin), maps.begin() + static_cast<ptrdiff_t>(end));
        h.work.push_front([some = std::move(some)] { return some; });
        end = begin;
    }
    maps.resize(std::min(maps.size(), kOpsPerPost));
    return maps;
}

// The heap goes on where it ended on the node; all else of the layout the deputy has kept.
Status Job::plan_layout(Process& p, const ProcDir& dir) {
    auto& h = *p.homecoming;
    auto text = dir.read_text("stat");
    if (!text) return std::unexpected(text.error());
    auto m = parse_stat(*text);
    if (!m) return std::unexpected(m.error());
    struct prctl_mm_map map = {
        .start_code = m->start_code, .end_code = m->end_code, .start_data = m->start_data, .end_data = m->end_data,
        .start_brk = m->start_brk, .brk = std::max(m->start_brk, h.image->mm.brk), .start_stack = m->start_stack,
        .arg_start = m->arg_start, .arg_end = m->arg_end, .env_start = m->env_start, .env_end = m->env_end,
        .auxv = nullptr, .auxv_size = 0, .exe_fd = ~0u};
    auto& lead = *thread(h.lead);
    h.work.push_back([this, &lead, map] {
        return Ops{op(SYS_prctl, {PR_SET_MM, PR_SET_MM_MAP, own_data(lead, &map, sizeof map), sizeof map})};
    });
    return {};
}

// The leading thread's next piece of work; when there is none left, the pages may come.
void Job::lead_on(Process& p) {
    auto& h = *p.homecoming;
    auto t = thread(h.lead);
    if (!t) return;
    while (!h.work.empty()) {
        auto work = std::move(h.work.front());
        h.work.pop_front();
        auto ops = work();
        if (!ops) return cannot_come_home(p, ops.error().what);
        if (!ops->empty()) return post_ours(*t, *ops);
    }
    h.step = Step::filling;
    link_.send(FrameType::ready, 0, ReadyFrame{p.pid, h.whole});
}

// It has done a piece.
void Job::lead_done(Process& p) {
    auto& h = *p.homecoming;
    auto& slot = p.slots->slot(thread(h.lead)->slot);
    for (uint32_t i = 0; i < slot.op_count; i++) {
        if (!is_error(slot.ops[i].result) || (slot.ops[i].flags & OMX_OP_MAY_FAIL)) continue;
        return cannot_come_home(
            p, fmt::format("{}({:#x}, {:#x}): {}", call_name(slot.ops[i].nr), slot.ops[i].args[0],
                           slot.ops[i].args[1], std::strerror(static_cast<int>(-slot.ops[i].result))));
    }
    lead_on(p);
}

// On the node: its threads stand still.
void Job::end_what_is_left(Process& p) {
    send_kill(p);
    p.kill_sent = false;  // the next one is for its next program
    came_home_.insert(p.pid);
}

// From here on the process is whole at home, and nowhere else.
void Job::memory_is_whole(Process& p) {
    auto& h = *p.homecoming;
    auto vdso = std::ranges::find(h.image->regions, RegionKind::vdso, &Region::kind);
    if (vdso != h.image->regions.end()) {
        omx_clock clock = node_vdso().functions;
        for (auto f : {&clock.clock_gettime, &clock.gettimeofday, &clock.time, &clock.clock_getres, &clock.getcpu})
            if (*f) *f += h.vdso_at;
        if (!fill(h, vdso->start, View(vdso_with(clock, kernel_version()))))
            return cannot_come_home(p, "its vDSO can't be written");
    }
    h.step = Step::threads;
    p.is_now(false, h.reason);
    p.borrowed = std::move(h.borrowed);
    if (!p.borrowed) end_what_is_left(p);
    lanes_.drop_of(p.pid);
    descriptors_.forget(p.pid);
    if (!h.opened) h.memory.reset();  // else what calls still bring goes this way: it closes itself again
    h.files_to.reset();
    stats_.came_home[!h.call.empty() ? h.call : p.wanted_home ? "asked" : "shared memory"]++;
    stats_.processes.push_back({p.pid.value, p.program, "came home", h.reason, 0, 0, 0, 0});
    std::vector<HomeTid> tids;
    for (auto& [tid, t] : p.threads) tids.push_back(tid);
    for (auto tid : tids)
        if (auto t = thread(tid); t && p.homecoming && t->state == Thread::State::idle) go_back(*t);
}

}  // namespace omx
