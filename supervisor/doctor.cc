#include "supervisor/doctor.h"
#include "loader/cpu.h"
#include "supervisor/greeting.h"
#include "supervisor/probe.h"
#include "supervisor/stats.h"
#include <chrono>
#include <vector>

namespace omx {

namespace {

using Clock = std::chrono::steady_clock;
using State = Finding::State;

struct Line {
    std::string what;
    Finding finding;
};

int64_t microseconds_since(Clock::time_point start) {
    return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count();
}

// The shortest of some pings: the others waited for a CPU to wake.
Result<int64_t> round_trip_us(Link& link) {
    int64_t best = INT64_MAX;
    for (uint64_t id = 1; id <= 20; ++id) {
        auto start = Clock::now();
        link.send(FrameType::ping, id, View());
        auto pong = link.receive_wait(kHelloMs);
        while (pong && pong->type == FrameType::clock_ask) pong = link.receive_wait(kHelloMs);
        if (!pong) return std::unexpected(pong.error());
        if (pong->type != FrameType::pong) return fail("the node answers a ping with something else");
        best = std::min(best, microseconds_since(start));
    }
    return best;
}

Finding compare_cpus(const Hello& home, const Hello& node) {
    auto beyond = features_beyond(node.cpu, home.cpu);
    if (beyond.empty()) return found("the node's features are within this machine's");
    return missing(fmt::format("the node has features that this machine lacks ({})", beyond),
                   "swap the roles: run from the newer machine on the older one");
}

Finding compare_pid_max(const Hello& home, const Hello& node) {
    if (node.pid_max >= home.pid_max) return found(fmt::format("up to {}, here up to {}", node.pid_max, home.pid_max));
    return missing(fmt::format("up to {}, here up to {}", node.pid_max, home.pid_max),
                   fmt::format("on the node: sudo sysctl kernel.pid_max={}", home.pid_max));
}

Result<std::vector<Line>> try_node(const std::string& text) {
    auto address = Address::parse(text);
    if (!address) return std::unexpected(address.error());
    auto start = Clock::now();
    auto socket = connect_to(*address, kConnectMs);
    if (!socket) return std::unexpected(socket.error());
    auto connect_us = microseconds_since(start);
    auto loop = Loop::make();
    if (!loop) return std::unexpected(loop.error());
    Link link(plain_channel(std::move(*socket)), **loop);
    auto ours = hello_of_home("omxsup doctor");
    auto node = greet(link, text, ours);
    if (!node) return std::unexpected(node.error());
    auto hello_us = microseconds_since(start);
    std::vector<Line> lines{
        {"node", found(fmt::format("{}, kernel {}, uid {}", node->host, node->kernel, node->uid))},
        {"node's process numbers", compare_pid_max(ours, *node)},
        {"node's CPU", compare_cpus(ours, *node)},
    };
    auto best = round_trip_us(link);
    auto ready = fmt::format("connected in {} µs, ready for a job after {} µs", connect_us, hello_us);
    auto way = best ? found(fmt::format("round trip {} µs; {}", *best, ready)) : missing(best.error().what, "");
    lines.push_back({"way to the node", std::move(way)});
    return lines;
}

std::vector<Line> examine(const DoctorOptions& options) {
    std::vector<Line> lines;
    for (auto list : {comfort_probes(), namespace_probes(), tracing_probes()})
        for (auto& probe : list) lines.push_back({std::string(probe.what), run_isolated(probe)});
    if (options.node.empty()) return lines;
    auto node = try_node(options.node);
    const char* remedy = "omxsup node --listen ADDR on that machine, as the same user";
    if (!node) lines.push_back({"node", missing(node.error().what, remedy)});
    else lines.insert(lines.end(), node->begin(), node->end());
    return lines;
}

void print_text(const std::vector<Line>& lines) {
    for (auto& [what, f] : lines) {
        fmt::print("{:<9} {}{}{}\n", name(f.state), what, f.detail.empty() ? "" : ": ", f.detail);
        if (f.state != State::ok && !f.remedy.empty()) fmt::print("{:<9}   remedy: {}\n", "", f.remedy);
    }
}

void print_json(const std::vector<Line>& lines, bool usable) {
    fmt::print("{{\n  \"usable\": {},\n  \"findings\": [\n", usable);
    for (auto& line : lines) {
        auto& f = line.finding;
        fmt::print(R"(    {{"what": {}, "state": "{}", "detail": {}, "remedy": {}}})", json_string(line.what),
                   name(f.state), json_string(f.detail), json_string(f.remedy));
        fmt::print("{}", &line == &lines.back() ? "\n" : ",\n");
    }
    fmt::print("  ]\n}}\n");
}

}  // namespace

int doctor_main(const DoctorOptions& options) {
    auto lines = examine(options);
    bool usable = true;
    for (auto& line : lines) usable = usable && line.finding.state != State::missing;
    if (options.json) print_json(lines, usable);
    else print_text(lines);
    return usable ? 0 : 1;
}

}  // namespace omx
