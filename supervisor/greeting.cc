#include "supervisor/greeting.h"
#include "loader/cpu.h"
#include "supervisor/home_clocks.h"
#include "loader/scheduling.h"
#include <fstream>
#include <sys/utsname.h>
#include <unistd.h>

namespace omx {

namespace {

// The way is measured by questions that are answered at once, which in the job's loop they are not: some are waited for
// here, as long as they come quickly. Nothing else comes before the job's first image.
Status answer_at_once(Link& link, int64_t asked) {
    constexpr int kQuestions = 10, kPatienceMs = 1;
    constexpr int64_t kLongestNs = 2'000'000;
    auto first = home_clocks(asked);
    link.send(FrameType::clock, 0, first);
    for (int i = 0; i < kQuestions && home_clocks(0).monotonic - first.monotonic < kLongestNs; i++) {
        auto frame = link.receive_wait(kPatienceMs);
        if (!frame) return {};                   // none came; or the link is gone, which the next one will say
        if (frame->type != FrameType::clock_ask) return fail("the node begins before it has a job");
        auto question = ClockAsk::decode(frame->body);
        if (!question) return std::unexpected(question.error());
        link.send(FrameType::clock, 0, home_clocks(question->asked));
    }
    return {};
}

}  // namespace

std::string first_line(const char* path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

Hello hello_of_home(std::string command) {
    Hello h;
    h.uid = geteuid();
    h.pid_max = static_cast<uint32_t>(strtoul(first_line("/proc/sys/kernel/pid_max").c_str(), nullptr, 10));
    h.job = static_cast<uint32_t>(getpid());
    auto numbers = cpu_numbers();
    h.cpus = numbers.cpus;
    h.memory_nodes = numbers.memory_nodes;
    h.cpu = cpu_features();
    utsname u{};
    uname(&u);
    h.host = u.nodename;
    h.kernel = u.release;
    h.boot_id = first_line("/proc/sys/kernel/random/boot_id");
    h.command = std::move(command);
    if (h.command.size() > 1000) h.command.resize(1000);
    return h;
}

Result<Hello> greet(Link& link, const std::string& node, const Hello& ours) {
    link.send(FrameType::hello, 0, ours);
    auto frame = link.receive_wait(kHelloMs);
    if (!frame) return fail(fmt::format("node {} did not answer: {}", node, frame.error().what));
    if (frame->type == FrameType::refuse) {
        auto refuse = Refuse::decode(frame->body);
        return fail(fmt::format("node {} refuses: {}", node, refuse ? refuse->reason : "no reason given"));
    }
    if (frame->type != FrameType::hello) return fail(fmt::format("node {} does not speak our protocol", node));
    auto hello = Hello::decode(frame->body);
    if (!hello) return std::unexpected(hello.error());
    if (hello->version != kProtocolVersion)
        return fail(fmt::format("node {} speaks protocol version {}, we speak {}: install the same omxsup on both",
                                node, hello->version, kProtocolVersion));
    OMX_TRY(answer_at_once(link, hello->asked));
    return hello;
}

}  // namespace omx
