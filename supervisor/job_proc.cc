// A guest reads (or writes) a file of /proc about a process of its job that is away: maps, status, mem and their like.
// Its descriptor is the real one of home's, on the deputy's file; what it reads is made of home's text and the node's
// (loader/proc_view.h). The node is asked each time that a file is read from its beginning; who reads on, reads on in
// that text.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <memory>

#include "protocol/trace.h"
#include "supervisor/job.h"

namespace omx {

namespace {

// Room for a call's buffers while the node is asked. Nobody but us writes there, so an end is as good as a guard page.
class HeapArena : public Arena {
public:
    Piece allocate(size_t bytes, size_t) override {
        auto& piece = pieces_.emplace_back(std::make_unique_for_overwrite<std::byte[]>(bytes));
        return {piece.get(), DeputyAddr(reinterpret_cast<uint64_t>(piece.get()))};
    }
    Piece allocate_before_guard(size_t bytes) override { return allocate(bytes, 1); }
    DeputyAddr bad_address() const override { return DeputyAddr(0x1000); }

private:
    std::vector<std::unique_ptr<std::byte[]>> pieces_;
};

// Where the call says that it wants to read or write, if it does.
std::optional<uint64_t> offset_of(uint32_t nr, const CallArgs& args) {
    switch (nr) {
        case SYS_pread64:
        case SYS_pwrite64:
        case SYS_preadv:
            return args[3];
        case SYS_preadv2:
            return args[3] == ~uint64_t{0} ? std::nullopt : std::optional(args[3]);
        default:
            return std::nullopt;
    }
}

// (Nobody writes memory from a vector by a file.)
bool is_write(uint32_t nr) { return nr == SYS_write || nr == SYS_pwrite64; }

size_t room_for(const HomeCall& call) {
    size_t bytes = 0;
    for (auto& piece : call.outs) bytes += piece.capacity;
    return bytes;
}

// Over the call's buffers, the first ones first.
void put(const HomeCall& call, View from) {
    for (auto& piece : call.outs) {
        auto n = std::min<size_t>(piece.capacity, from.size());
        if (n) std::memcpy(const_cast<std::byte*>(piece.ours), from.data(), n);
        from = from.subspan(n);
    }
}

std::string read_whole(int file) {
    std::string text;
    constexpr size_t kPiece = 65536, kMost = 64 << 20;
    while (text.size() < kMost) {
        size_t used = text.size();
        text.resize(used + kPiece);
        auto n = pread(file, text.data() + used, kPiece, static_cast<off_t>(used));
        text.resize(used + static_cast<size_t>(std::max<ssize_t>(n, 0)));
        if (n <= 0) break;
    }
    return text;
}

}  // namespace

// What an open file of /proc is, if it is about a process of the job that this one traces and has something to say of.
std::optional<ProcPath> Job::proc_file_away(int file) {
    auto path = parse_proc_path(link_of_descriptor(file));
    if (!path) return std::nullopt;
    auto of = thread(path->task);
    if (!of || of->process->guest_gone) return std::nullopt;
    // Of what is at home only its tracer would show.
    if (!of->process->away && path->file != ProcFile::status && path->file != ProcFile::stat) return std::nullopt;
    return path;
}

// False: nothing has happened, it is a call like any other.
bool Job::run_on_proc(Thread& t, const CallHead& head, const CallOrigin& from, View body, int file) {
    bool write = is_write(head.nr);
    bool flagged = head.nr == SYS_preadv2 && head.args[5];         // which no file of /proc takes
    if (head.nr == SYS_lseek || head.nr == SYS_fstat || flagged || !link_up_) return false;
    auto path = proc_file_away(file);
    if (!path || (write && is_text(path->file)) || (!write && path->file == ProcFile::clear_refs)) return false;
    ActiveCall active{.from = from, .since = std::chrono::steady_clock::now()};
    auto& proc = active.proc.emplace();
    proc.path = *path, proc.write = write, proc.offset = offset_of(head.nr, head.args);
    proc.arena = std::make_unique<HeapArena>();
    auto call = decode_call(body, *proc.arena);
    if (!call) return link_lost(call.error()), true;
    proc.file.reset(fcntl(file, F_DUPFD_CLOEXEC, 0));
    if (!proc.file || (proc.offset && static_cast<int64_t>(*proc.offset) < 0 && is_text(path->file))) return false;
    active.call = std::move(*call);
    if (setup_.trace_file) active.text = format_call(head, body);
    auto& of = *thread(path->task)->process;
    ProcAsk ask{.pid = of.pid, .task = path->task, .file = static_cast<uint8_t>(path->file),
                .of_thread = path->of_thread, .write = write};
    proc.id = ++last_proc_call_ << 32 | static_cast<uint32_t>(t.tid.value);
    t.active = std::move(active);
    if (!of.away) return read_proc(t, std::nullopt), true;
    uint64_t offset = t.active->proc->offset.value_or(static_cast<uint64_t>(lseek(file, 0, SEEK_CUR)));
    struct stat st{};
    fstat(file, &st);
    auto number = static_cast<int>(head.args[0]);
    if (is_text(path->file) && offset > 0 && proc_texts_.find(t.process->pid, number, st.st_ino))
        return read_proc(t, std::nullopt), true;
    auto& made = t.active->call;
    if (!is_text(path->file)) ask.offset = offset, ask.bytes = static_cast<uint32_t>(room_for(made));
    // As much of it as the guest could read.
    if (write) ask.data = View(reinterpret_cast<const std::byte*>(made.deputy[1]), made.in_bytes);
    if (write && made.in_bytes == 0 && made.guest[2] > 0) return finish_proc_call(t, -EFAULT), true;
    link_.send(FrameType::proc_ask, t.active->proc->id, ask);
    return true;
}

void Job::on_proc_told(uint64_t id, const ProcTold& told) {
    auto t = thread(HomeTid(static_cast<pid_t>(id & 0x7fffffff)));
    if (!t || !t->active || !t->active->proc || t->active->proc->id != id) return;        // it has ended meanwhile
    if (t->process->ending || !t->process->held.empty()) return;
    auto& proc = *t->active->proc;
    auto text = std::string_view(reinterpret_cast<const char*>(told.data.data()), told.data.size());
    if (is_text(proc.path.file)) return read_proc(*t, told.error ? std::nullopt : std::optional(text));
    if (told.error) return finish_proc_call(*t, -told.error);
    auto bytes = told.data.first(std::min(told.data.size(), room_for(t->active->call)));
    put(t->active->call, bytes);
    finish_proc_call(*t, static_cast<int64_t>(proc.write ? told.written : bytes.size()));
}

std::string Job::proc_text(const Thread& reader, const ProcCall& proc, std::optional<std::string_view> node) {
    auto home = read_whole(proc.file.get());
    auto of = thread(proc.path.task);
    if (!of) return home;
    auto& p = *of->process;
    HomeView view{.text = home, .path_of = {}, .supervisor = getpid(), .self = &reader == of,
                  .in_call = of->state == Thread::State::calling || of->active_for_guest(), .stopped = p.stopped,
                  .call = {}};
    view.path_of = [&](uint64_t device, uint64_t inode) { return kept_.path_of(p.pid, device, inode); };
    if (of->active_for_guest()) {
        auto& call = of->active->call;
        view.call = fmt::format("{}", call.nr);
        for (auto arg : call.guest) view.call += fmt::format(" {:#x}", arg);
    }
    return as_at_home(proc.path.file, node, view);
}

// Afresh at the beginning of the file, else on in the text that was made then.
void Job::read_proc(Thread& t, std::optional<std::string_view> node) {
    auto& proc = *t.active->proc;
    struct stat st{};
    fstat(proc.file.get(), &st);
    auto position = proc.offset ? static_cast<int64_t>(*proc.offset) : lseek(proc.file.get(), 0, SEEK_CUR);
    auto offset = static_cast<uint64_t>(std::max<int64_t>(position, 0));
    auto number = static_cast<int>(t.active->call.guest[0]);
    auto kept = offset > 0 ? proc_texts_.find(t.process->pid, number, st.st_ino) : nullptr;
    auto& text = kept ? *kept : proc_texts_.keep(t.process->pid, number, st.st_ino, proc_text(t, proc, node));
    auto rest = std::as_bytes(std::span(text)).subspan(std::min<size_t>(offset, text.size()));
    auto room = room_for(t.active->call);
    if (room == 0 && !rest.empty() && t.active->call.guest[2] > 0) return finish_proc_call(t, -EFAULT);
    rest = rest.first(std::min(rest.size(), room));
    put(t.active->call, rest);
    finish_proc_call(t, static_cast<int64_t>(rest.size()));
}

void Job::finish_proc_call(Thread& t, int64_t result) {
    auto& proc = *t.active->proc;
    if (result > 0 && !proc.offset) lseek(proc.file.get(), result, SEEK_CUR);
    stats_.run_by_supervisor++;
    reply(t, {result, 0}, {}, "supervisor");
    run_waiting(t);
}

}  // namespace omx
