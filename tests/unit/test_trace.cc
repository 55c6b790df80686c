#include "protocol/trace.h"
#include "protocol/listing.h"
#include "tests/unit/call_path.h"
#include <algorithm>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/socket.h>

using namespace omx;
using namespace omx::test;

template <class... A> static std::string traced(long nr, A... args) {
    CallArgs all{};
    size_t i = 0;
    ((all[i++] = word(args)), ...);
    OwnMemory memory;
    Bytes body;
    Writer out(body);
    REQUIRE(encode_call(HomeTid(1), static_cast<uint32_t>(nr), all, memory, out).has_value());
    auto head = peek_call(body);
    REQUIRE(head.has_value());
    return format_call(*head, body);
}

TEST_CASE("calls read as strace writes them") {
    CHECK(traced(SYS_openat, AT_FDCWD, "/etc/hosts", O_RDONLY | O_CLOEXEC, 0)
          == R"(openat(AT_FDCWD, "/etc/hosts", O_RDONLY|O_CLOEXEC, 0))");
    CHECK(traced(SYS_write, 1, "a \"b\"\n\001", 7) == R"(write(1, "a \"b\"\n\1", 7))");
    std::string longer(100, 'x');
    CHECK(traced(SYS_write, 1, longer.data(), 100) == "write(1, \"" + std::string(32, 'x') + "\"..., 100)");
    CHECK(traced(SYS_read, 0, 0x10000, 16) == "read(0, 0x10000, 16)");
    CHECK(traced(SYS_read, 0, nullptr, 16) == "read(0, NULL, 16)");
    CHECK(traced(SYS_getppid) == "getppid()");
    CHECK(traced(SYS_kill, -5, 15) == "kill(-5, SIGTERM)");
    CHECK(traced(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) == "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0)");
    CHECK(traced(SYS_ioctl, 0, 0x5413, 0x10000) == "ioctl(0, TIOCGWINSZ, 0x10000)");
    CHECK(traced(SYS_ioctl, 0, 0x1234567, 0x10000) == "ioctl(0, 0x1234567, 0x10000)");
    CHECK(traced(SYS_fcntl, 3, F_SETFL, O_RDWR | O_NONBLOCK) == "fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK)");
    CHECK(traced(SYS_clone, 17 | 0x01200000)
          == "clone(CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, NULL, NULL, NULL, NULL)");
    const char* arguments[] = {"ls", "-l", nullptr};
    CHECK(traced(SYS_execve, "/bin/ls", arguments, nullptr) == R"(execve("/bin/ls", ["ls", "-l"], NULL))");
    iovec v[] = {{const_cast<char*>("ab"), 2}, {const_cast<char*>("cd"), 1}};
    CHECK(traced(SYS_writev, 1, v, 2) == R"(writev(1, ["ab", "c"], 2))");
}

TEST_CASE("what is no proper call is printed all the same") {
    CHECK(format_call({HomeTid(1), 5000, {1, 2, 3, 4, 5, 0x66}}, {}) == "syscall_5000(0x1, 0x2, 0x3, 0x4, 0x5, 0x66)");
    CHECK(format_call({HomeTid(1), SYS_write, {1, 0x10000, 7}}, {}) == "write(1, 0x10000, 7)");
}

TEST_CASE("results have errno's names") {
    CHECK(format_result(SYS_read, 3) == "3");
    CHECK(format_result(SYS_read, -ENOENT) == "-1 ENOENT (No such file or directory)");
    CHECK(format_result(SYS_brk, 0x5555000) == "0x5555000");
    CHECK(format_result(SYS_umask, 022) == "022");
    CHECK(format_result(SYS_pause, -514).starts_with("? ERESTARTNOHAND"));
    CHECK(format_result(5000, -ENOSYS).starts_with("-1 ENOSYS"));
}

TEST_CASE("the page about system calls is what the table says") {
    auto page = std::filesystem::path(__FILE__).parent_path() / "../../docs/syscalls.md";
    std::ifstream file(page);
    REQUIRE_MESSAGE(file.good(), page.string());
    std::stringstream text;
    text << file.rdbuf();
    CHECK_MESSAGE(text.str() == syscalls_markdown(), "write it anew: omxsup syscalls --markdown > docs/syscalls.md");
}

TEST_CASE("the listing for programs and for people names every call") {
    std::string json = syscalls_json(), text = syscalls_text();
    CHECK(json.starts_with("[\n"));
    CHECK(json.ends_with("]\n"));
    CHECK(std::ranges::count(json, '{') == std::ranges::count(json, '}'));
    for (std::string name : {"read", "openat", "io_uring_setup", "file_setattr"}) {
        CHECK(json.find("\"name\": \"" + name + "\"") != std::string::npos);
        CHECK(text.find(" " + name + " ") != std::string::npos);
    }
}
