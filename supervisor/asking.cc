#include "supervisor/asking.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>

#include "loader/task_status.h"
#include "supervisor/control.h"
#include "supervisor/run.h"
#include "supervisor/stats.h"

namespace omx {

namespace {

constexpr int kAnswerMs = 10'000;

// Who is at the other end, the kernel says: the name alone could be anybody's.
Result<std::unique_ptr<Link>> reach(pid_t supervisor, Loop& loop) {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ControlAddress address(supervisor);
    if (!socket || connect(socket.get(), address.get(), address.size()) < 0)
        return fail_errno(fmt::format("supervisor {} can't be asked", supervisor));
    ucred peer{};
    socklen_t bytes = sizeof peer;
    if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0 || peer.pid != supervisor)
        return fail(fmt::format("supervisor {} can't be asked: somebody else has its name", supervisor));
    fcntl(socket.get(), F_SETFL, O_NONBLOCK);
    return std::make_unique<Link>(plain_channel(std::move(socket)), loop);
}

std::vector<pid_t> supervisors() {
    std::vector<pid_t> found;
    std::ifstream sockets("/proc/net/unix");
    for (std::string line; std::getline(sockets, line);) {
        auto at = line.find("@omxsup/");
        pid_t pid = 0;
        if (at == line.npos) continue;
        auto begin = line.data() + at + 8, end = line.data() + line.size();
        if (std::from_chars(begin, end, pid).ptr == end && pid > 0) found.push_back(pid);
    }
    std::ranges::sort(found);                      // a listening socket, and one for each connection
    found.erase(std::ranges::unique(found).begin(), found.end());
    return found;
}

// ---- ps ----

// Of a supervisor that ends meanwhile, or isn't ours, nothing.
void take_processes(pid_t supervisor, Loop& loop, std::vector<PlacedFrame>& into) {
    auto link = reach(supervisor, loop);
    if (!link) return;
    (*link)->send(FrameType::ask, 0, AskFrame{});
    for (;;) {
        auto frame = (*link)->receive_wait(kAnswerMs);
        if (!frame || frame->type != FrameType::placed) return;
        if (auto placed = PlacedFrame::decode(frame->body)) into.push_back(std::move(*placed));
    }
}

std::string age(uint64_t ms) {
    auto s = ms / 1000;
    if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
    return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

void print_json(const std::vector<PlacedFrame>& processes) {
    std::string text = "[";
    for (auto& p : processes)
        text += fmt::format("{}\n  {{\"pid\": {}, \"place\": {}, \"since_ms\": {}, \"calls\": {}, \"why\": {}, "
                            "\"program\": {}}}", text.size() > 1 ? "," : "", p.pid.value, json_string(p.place), p.since_ms,
                            p.calls, json_string(p.why), json_string(p.program));
    fmt::print("{}\n]\n", text);
}

void print_table(const std::vector<PlacedFrame>& processes) {
    size_t place = 5;
    for (auto& p : processes) place = std::max(place, p.place.size());
    fmt::print("{:>7}  {:<{}}  {:>8}  {:>9}  {}\n", "PID", "PLACE", place, "TIME", "CALLS", "PROGRAM");
    for (auto& p : processes)
        fmt::print("{:>7}  {:<{}}  {:>8}  {:>9}  {}{}\n", p.pid.value, p.place, place, age(p.since_ms), p.calls, p.program,
                   p.why.empty() ? "" : fmt::format("  ({})", p.why));
}

// ---- migrate, detach ----

int failed(std::string_view what) {
    fmt::print(stderr, "omxsup: {}\n", what);
    return kExitOurFailure;
}

Result<pid_t> supervisor_of(pid_t pid) {
    TaskStatus status{HomePid(pid)};
    if (!status.exists()) return fail(fmt::format("there is no process {}", pid));
    auto tracer = status.number("TracerPid").value_or(0);
    if (tracer == 0) return fail(fmt::format("process {} is in no job of omxsup", pid));
    return static_cast<pid_t>(tracer);
}

// However long it takes.
Result<MovedFrame> next_word(Link& link) {
    for (;;) {
        auto frame = link.receive();
        if (!frame) return fail(fmt::format("its supervisor has ended: {}", frame.error().what));
        if (*frame) {
            if ((*frame)->type == FrameType::moved) return MovedFrame::decode((*frame)->body);
            return fail(fmt::format("its supervisor answers with a {} frame", name((*frame)->type)));
        }
        pollfd ready{link.fd(), POLLIN, 0};
        poll(&ready, 1, -1);
    }
}

void show(const MovedFrame& m, bool last) {
    if (!isatty(STDERR_FILENO)) return;
    auto text = last ? "" : fmt::format("{}, {:.1f} MiB", m.text, static_cast<double>(m.bytes) / (1 << 20));
    fmt::print(stderr, "\r\033[K{}", text);
}

}  // namespace

int ps_main(const PsOptions& o) {
    auto loop = Loop::make(LoopKind::epoll);
    if (!loop) return failed(loop.error().what);
    std::vector<PlacedFrame> processes;
    for (auto supervisor : supervisors()) take_processes(supervisor, **loop, processes);
    std::ranges::sort(processes, {}, [](auto& p) { return p.pid.value; });
    o.json ? print_json(processes) : print_table(processes);
    return 0;
}

// Until it is there, however long that takes. Who gives up waiting (^C) takes nothing back.
int move_main(const MoveOptions& o) {
    auto loop = Loop::make(LoopKind::epoll);
    if (!loop) return failed(loop.error().what);
    auto supervisor = supervisor_of(o.pid);
    if (!supervisor) return failed(supervisor.error().what);
    auto link = reach(*supervisor, **loop);
    if (!link) return failed(link.error().what);
    (*link)->send(FrameType::ask, 0, AskFrame{.wish = o.detach ? Wish::detach : Wish::home, .pid = HomePid(o.pid)});
    for (;;) {
        auto moved = next_word(**link);
        if (!moved) return failed(moved.error().what);
        bool last = moved->step != MovedFrame::Step::under_way;
        show(*moved, last);
        if (moved->step == MovedFrame::Step::failed) return failed(fmt::format("process {}: {}", o.pid, moved->text));
        if (!last) continue;
        fmt::print("{} is {}: stood still {:.1f} ms, {:.1f} MiB travelled\n", o.pid, o.detach ? "let go" : "home",
                   static_cast<double>(moved->still_us) / 1e3, static_cast<double>(moved->bytes) / (1 << 20));
        return 0;
    }
}

}  // namespace omx
