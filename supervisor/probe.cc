#include "supervisor/probe.h"
#include "protocol/unique_fd.h"
#include <array>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

namespace omx {

namespace {

constexpr int kLimitMs = 5000;

// On the pipe: the state as one byte, the detail, a zero byte, the remedy.
std::string encode(const Finding& f) {
    return std::string(1, static_cast<char>('0' + static_cast<int>(f.state))) + f.detail + '\0' + f.remedy;
}

Finding decode(const std::string& text) {
    auto middle = text.find('\0');
    if (text.empty() || middle == std::string::npos) return missing("the probe died", "");
    return {static_cast<Finding::State>(text[0] - '0'), text.substr(1, middle - 1), text.substr(middle + 1)};
}

std::string read_until_closed(int fd) {
    std::string text;
    std::array<char, 4096> buffer;
    pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
    while (poll(&waiting, 1, kLimitMs) == 1) {
        auto n = read(fd, buffer.data(), buffer.size());
        if (n <= 0) break;
        text.append(buffer.data(), static_cast<size_t>(n));
    }
    return text;
}

}  // namespace

std::string_view name(Finding::State state) {
    using State = Finding::State;
    return state == State::ok ? "ok" : state == State::degraded ? "degraded" : "missing";
}

Finding found(std::string detail) {
    return {Finding::State::ok, std::move(detail), ""};
}

Finding degraded(std::string to, std::string remedy) {
    return {Finding::State::degraded, std::move(to), std::move(remedy)};
}

Finding missing(std::string why, std::string remedy) {
    return {Finding::State::missing, std::move(why), std::move(remedy)};
}

Finding run_isolated(const Probe& probe) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return missing(std::strerror(errno), "");
    UniqueFd in(ends[0]), out(ends[1]);
    pid_t child = fork();
    if (child < 0) return missing(fmt::format("fork: {}", std::strerror(errno)), "");
    if (child == 0) {
        setpgid(0, 0);                                  // what it starts is killed as one group
        auto text = encode(probe.run());
        _exit(write(out.get(), text.data(), text.size()) < 0);
    }
    setpgid(child, child);
    out.reset();
    auto text = read_until_closed(in.get());
    kill(-child, SIGKILL);
    waitpid(child, nullptr, 0);
    return decode(text);
}

}  // namespace omx
