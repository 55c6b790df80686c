// What this node's /proc says of a guest, for who reads about it at home's (loader/proc_view.h): the text of a file in
// home's terms, or bytes of its memory. Home has decided already that it may be read.
#include "loader/proc_files.h"
#include "remote/debug.h"
#include "remote/worker.h"
#include <fcntl.h>
#include <unistd.h>

namespace omx {
namespace {

constexpr size_t kMostBytes = kMaxFrameBytes / 2;

std::string path_of(const ProcAsk& ask) {
    return ask.of_thread ? fmt::format("/proc/{}/task/{}", ask.pid.value, ask.task.value)
                         : fmt::format("/proc/{}", ask.task.value);
}

uint64_t ticks(uint64_t us) { return us * static_cast<uint64_t>(sysconf(_SC_CLK_TCK)) / 1'000'000; }

Result<std::string> whole_text(const std::string& path) {
    UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return fail_errno(path);
    std::string text;
    while (text.size() < kMostBytes) {
        size_t used = text.size();
        text.resize(used + 65536);
        ssize_t n = read(fd.get(), text.data() + used, text.size() - used);
        text.resize(used + static_cast<size_t>(std::max<ssize_t>(n, 0)));
        if (n < 0) return fail_errno(path);
        if (n == 0) break;
    }
    return text;
}

// Memory and the like: as much as the kernel moves at once, from there on.
ProcTold move_bytes(const std::string& path, const ProcAsk& ask, Bytes& room) {
    UniqueFd fd(open(path.c_str(), (ask.write ? O_WRONLY : O_RDONLY) | O_CLOEXEC));
    if (!fd) return {.error = errno, .written = 0, .data = {}};
    auto at = static_cast<off_t>(ask.offset);
    if (!ask.write) room.resize(ask.bytes);
    auto n = ask.write ? pwrite(fd.get(), ask.data.data(), ask.data.size(), at)
                       : pread(fd.get(), room.data(), room.size(), at);
    if (n < 0) return {.error = errno, .written = 0, .data = {}};
    if (ask.write) return {.error = 0, .written = static_cast<uint32_t>(n), .data = {}};
    return {.error = 0, .written = 0, .data = View(room).first(static_cast<size_t>(n))};
}

}  // namespace

NodeView Worker::view_of(Process& p, HomeTid task) {
    NodeView view;
    view.ours = p.ours;
    view.file = [this](FileId id) { return file_of(id); };
    bool leader = task.value == 0;
    auto t = leader ? nullptr : guests_.thread(task);
    auto use = cpu_use(p.pid, leader ? HomeTid() : task, leader || task.value == p.pid.value ? p.cpu.restoring_ns : 0,
                       t ? t->told_cpu_time : p.cpu.told);
    view.user = ticks(use.user_us), view.system = ticks(use.system_us);
    view.childrens_user = ticks(p.cpu.children.user_us), view.childrens_system = ticks(p.cpu.children.system_us);
    return view;
}

Result<std::string> Worker::proc_text(Process& p, const ProcAsk& ask, ProcFile file) {
    auto text = whole_text(fmt::format("{}/{}", path_of(ask), name(file)));
    if (!text) return text;
    auto maps = file == ProcFile::maps ? Result<std::string>("") : whole_text(path_of(ask) + "/maps");
    return in_homes_terms(file, *text, maps ? *maps : "", view_of(p, ask.of_thread ? ask.task : HomeTid()));
}

// Of a big file that it maps a part is asked for that hasn't come yet: the answer waits for it.
bool Worker::waits_for_content(uint64_t id, const ProcAsk& ask, Process& p) {
    if (p.space->empty()) return false;
    Bytes room(ask.write ? ask.data.size() : ask.bytes);
    p.memory.through(ask.task);
    p.memory.take_missing();
    p.memory.read(GuestAddr(ask.offset), room);
    auto missing = p.memory.take_missing();
    if (!missing) return false;
    auto again = std::make_shared<Bytes>(encode_frame(ask));
    missing->file->want(missing->from, missing->end, [this, id, again](Status got) {
        auto kept = ProcAsk::decode(View(*again));
        if (got && kept) return on_proc_ask(id, *kept);
        link_.send(FrameType::proc_told, id, ProcTold{.error = EIO, .written = 0, .data = {}});
    });
    return true;
}

void Worker::on_proc_ask(uint64_t id, const ProcAsk& ask) {
    auto file = proc_file(ask.file);
    if (!file || (ask.write && is_text(*file)))
        return link_ended({"home asks for a file of /proc unknown here", EPROTO});
    auto p = guests_.process(ask.pid);
    auto t = guests_.thread(ask.task);
    ProcTold told{.error = ESRCH, .written = 0, .data = {}};
    Bytes room;
    Result<std::string> text("");
    if (p && t && t->process == p && !p->killed && p->stage == Process::Stage::running) {
        OMX_DEBUG("{}: /proc/{}/{} is read at home", ask.pid.value, ask.task.value, name(*file));
        if (*file == ProcFile::mem && waits_for_content(id, ask, *p)) return;
        if (is_text(*file)) {
            text = proc_text(*p, ask, *file);
            if (text) told = {.error = 0, .written = 0, .data = std::as_bytes(std::span(*text))};
            else told.error = text.error().code;
        } else {
            told = move_bytes(fmt::format("{}/{}", path_of(ask), name(*file)), ask, room);
        }
    }
    link_.send(FrameType::proc_told, id, told);
}

}  // namespace omx
