#include "loader/restore.h"
#include "remote/sandbox.h"
#include "remote/stub.h"
#include <csignal>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <fstream>
#include <sys/wait.h>

using namespace omx;

namespace {

// Runs `inside` as pid 1 of a fresh sandbox; what it returns, or the reason why there is none.
std::string in_sandbox(const std::function<std::string()>& inside) {
    int pipes[2];
    REQUIRE(pipe2(pipes, O_CLOEXEC) == 0);
    UniqueFd reader(pipes[0]), writer(pipes[1]);
    pid_t outer = fork();
    if (outer == 0) {
        auto say = [&](const std::string& text) { _exit(write(writer.get(), text.data(), text.size()) < 0); };
        if (auto made = unshare_namespaces(); !made) say("no namespaces: " + made.error().what);
        pid_t worker = fork();
        if (worker == 0) {
            auto entered = enter_empty_root();
            if (!entered) say(entered.error().what);
            UniqueFd last(open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC));
            if (auto dropped = drop_privileges(); !dropped) say(dropped.error().what);
            if (auto chosen = choose_next_id(last.get(), 12345); !chosen) say(chosen.error().what);
            int keep[]{writer.get()};
            if (auto closed = keep_descriptors_only(keep); !closed) say(closed.error().what);
            say(inside());
        }
        waitpid(worker, nullptr, 0);
        _exit(0);
    }
    writer.reset();
    std::string said;
    char piece[4096];
    for (ssize_t n; (n = read(reader.get(), piece, sizeof piece)) > 0;) said.append(piece, static_cast<size_t>(n));
    waitpid(outer, nullptr, 0);
    return said;
}

bool unavailable(const std::string& said) {
    if (!said.starts_with("no namespaces")) return false;
    MESSAGE("this machine has no namespaces for us: " << said);
    return true;
}

}  // namespace

TEST_CASE("a worker sees an empty machine") {
    auto said = in_sandbox([] {
        std::string names;
        for (auto& e : std::filesystem::directory_iterator("/")) names += e.path().string() + " ";
        return fmt::format(
            "{}| {}| pid {}",
            names.find("/proc ") != names.npos && names.find("/stub ") != names.npos ? "proc and stub " : names,
            names.size() == 12 ? "nothing else " : names, getpid());
    });
    if (unavailable(said)) return;
    CHECK(said == "proc and stub | nothing else | pid 1");
}

TEST_CASE("a worker can change nothing, and chooses the numbers of its children") {
    auto said = in_sandbox([] {
        UniqueFd file(open("/new", O_CREAT | O_WRONLY, 0600));
        std::string result = file ? "wrote a file; " : "read-only; ";
        pid_t child = fork();
        if (child == 0) _exit(0);
        return result + fmt::format("child {}", child);
    });
    if (unavailable(said)) return;
    CHECK(said == "read-only; child 12345");
}

TEST_CASE("a worker holds one capability and none can be gained") {
    auto said = in_sandbox([] {
        std::ifstream status("/proc/self/status");
        std::string result;
        for (std::string line; std::getline(status, line);)
            if (line.starts_with("CapEff") || line.starts_with("CapBnd") || line.starts_with("CapInh") ||
                line.starts_with("NoNewPrivs"))
                result += line + ";";
        return result;
    });
    if (unavailable(said)) return;
    CHECK(said == "CapInh:\t0000000000000000;CapEff:\t0000010000000000;CapBnd:\t0000000000000000;NoNewPrivs:\t1;");
}

TEST_CASE("only the named descriptors stay open") {
    auto said = in_sandbox([] {
        int open_ones = 0;
        for (int fd = 3; fd < 256; fd++) open_ones += fcntl(fd, F_GETFD) >= 0;
        return std::to_string(open_ones);
    });
    if (unavailable(said)) return;
    CHECK(said == "1");
}
