// What is known of programs before they may be traced.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "policy/programs.h"
#include "supervisor/new_program.h"

using namespace omx;

namespace {
UniqueFd file_of(std::string_view content) {
    UniqueFd fd(memfd_create("program", MFD_CLOEXEC));
    CHECK(write(fd.get(), content.data(), content.size()) == static_cast<ssize_t>(content.size()));
    return fd;
}

std::string own_program() {
    UniqueFd fd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    struct stat s;
    fstat(fd.get(), &s);
    std::string content(static_cast<size_t>(s.st_size), '\0');
    CHECK(pread(fd.get(), content.data(), content.size(), 0) == s.st_size);
    return content;
}
}  // namespace

TEST_CASE("debuggers and tracers are known by their names, wherever they are") {
    for (auto name : {"/usr/bin/gdb", "strace", "/opt/x/rr", "/usr/bin/lldb-14", "/usr/bin/perf_6.1", "./omxsup"})
        CHECK_MESSAGE(traces_others(name), name);
    for (auto name : {"/usr/bin/gdbm_dump", "/gdb/sh", "", "/", "perfect", "make"})
        CHECK_MESSAGE(!traces_others(name), name);
}

TEST_CASE("a leak checker is found by a program's dynamic names only") {
    auto program = own_program();
    bool sanitized = holds_leak_checker(file_of(program).get());
#if !defined(__SANITIZE_ADDRESS__)
    CHECK(!sanitized);
    // In code and data, in which this test has it, the name means nothing; among the dynamic names it does.
    for (auto at = program.find("libc.so.6"); at != program.npos; at = program.find("libc.so.6", at + 1))
        program.replace(at, 10, "libasan.so");
    CHECK(holds_leak_checker(file_of(program).get()));
#else
    CHECK(sanitized);
#endif
}

TEST_CASE("files that are no whole programs hold no leak checker") {
    auto program = own_program().substr(0, 4096);
    CHECK(!holds_leak_checker(file_of("").get()));
    CHECK(!holds_leak_checker(file_of("#!/bin/sh\n").get()));
    CHECK(!holds_leak_checker(file_of(program.substr(0, 20)).get()));
    uint64_t seed = 1;
    for (int i = 0; i < 5000; i++) {  // headers of any content
        auto broken = program;
        for (int j = 0; j < 4; j++) {
            seed = seed * 6364136223846793005 + 1442695040888963407;
            broken[16 + (seed >> 33) % 1000] = static_cast<char>(seed >> 24);
        }
        CHECK(!holds_leak_checker(file_of(broken).get()));
    }
}
