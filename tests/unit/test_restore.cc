// Capture and restore of real programs on this machine: what ran in the stub must not be able to tell.
#include "tests/unit/restore_guest.h"
#include "tests/unit/restored.h"
#include <csignal>
#include <doctest/doctest.h>
#include <filesystem>
#include <sys/stat.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace omx;
using omx::test::Captured;
using omx::test::Launch;
using omx::test::Outcome;

namespace {

Outcome run(const Launch& launch, const omx::test::Variant& variant = {}) {
    auto captured = omx::test::capture(launch);
    if (!captured) return {.wait_status = -1, .output = {}, .error = captured.error().what};
    Outcome o = omx::test::restore(*captured, variant);
    if (std::getenv("OMX_TEST_TIMES"))
        MESSAGE(launch.argv[0] << ": capture " << captured->capture_us << " us, image " << captured->encoded.size()
                << " bytes, plan " << o.plan_us << " us, restore with exec " << o.restore_us << " us, " << o.operations
                << " operations, " << o.calls_asked << " calls asked");
    return o;
}

Launch guest(const std::string& name) {
    Launch l;
    l.argv = {"/proc/self/exe", "one", "", "two words"};
    l.environment.push_back(std::string(omx::test::kGuestVariable) + "=" + name);
    return l;
}

void check_exit(const Outcome& o, int status) {
    CHECK(o.error == "");
    REQUIRE(WIFEXITED(o.wait_status));
    CHECK(WEXITSTATUS(o.wait_status) == status);
}

}  // namespace

TEST_CASE("restored programs run to their end") {
    Outcome o = run({.argv = {"/bin/true"}});
    check_exit(o, 0);
    o = run({.argv = {"/bin/false"}});
    check_exit(o, 1);
    o = run({.argv = {"/bin/echo", "all", "of this"}});
    check_exit(o, 0);
    CHECK(o.output == "all of this\n");
    o = run({.argv = {"/bin/sleep", "0"}});
    check_exit(o, 0);
    o = run({.argv = {"/bin/sh", "-c", "echo $((6 * 7)) $MARK; exit 3"}});
    check_exit(o, 3);
    CHECK(o.output == "42 of home\n");
}

TEST_CASE("a static program is restored") {
    if (::access("/bin/busybox", X_OK) != 0) return;
    Outcome o = run({.argv = {"/bin/busybox", "echo", "static"}});
    check_exit(o, 0);
    CHECK(o.output == "static\n");
}

TEST_CASE("arguments, environment and name are restored") {
    Outcome o = run(guest("arguments"));
    check_exit(o, 7);
    CHECK(o.output == "one;;two words;MARK=of home;exe\n");
}

TEST_CASE("our vDSO tells the kernel's time at the vDSO's speed") {
    check_exit(run(guest("clocks")), 0);
    Outcome o = run(guest("clock speed"));
    check_exit(o, 0);
    CHECK(std::atol(o.output.c_str()) < 150);
    check_exit(run(guest("objects")), 0);
}

TEST_CASE("the wall clock is what the worker says of home's, and CLOCK_MONOTONIC the kernel's") {
    Outcome o = run(guest("clock offset"), {.realtime_ahead_ns = 12'300'000'000});
    check_exit(o, 0);
    CHECK(o.output == "123 123 123 0 ");
    o = run(guest("clock offset"), {.realtime_ahead_ns = -999'900'000'000});
    check_exit(o, 0);
    CHECK(o.output == "-9998 -9998 -9998 0 ");        // C rounds to zero: -9999 and half a tenth
}

TEST_CASE("a restore that fails says which operation did, and why") {
    int unmappable[2];
    REQUIRE(::pipe(unmappable) == 0);
    Outcome o = run({.argv = {"/bin/true"}}, {.first_file = unmappable[0]});
    ::close(unmappable[0]);
    ::close(unmappable[1]);
    CHECK(o.error.starts_with("mapping "));
    REQUIRE(WIFEXITED(o.wait_status));
    CHECK(WEXITSTATUS(o.wait_status) == 125);
}

TEST_CASE("stack and heap grow as at home") {
    check_exit(run(guest("deep stack")), 0);
    check_exit(run(guest("heap")), 0);
    Outcome o = run(guest("stack overflow"));
    CHECK(o.error == "");
    CHECK(WIFSIGNALED(o.wait_status));
    CHECK(WTERMSIG(o.wait_status) == SIGSEGV);
}

TEST_CASE("memory that may not be executed can't be") {
    Outcome o = run(guest("stack code"));
    CHECK(o.error == "");
    CHECK(WIFSIGNALED(o.wait_status));
}

TEST_CASE("signal state survives") {
    Launch l = guest("signals");
    l.ignored_signals = {SIGUSR2};
    l.blocked = 1ull << (SIGWINCH - 1);
    check_exit(run(l), 0);
}

TEST_CASE("threads, arithmetic and the layout work in a restored program") {
    check_exit(run(guest("threads")), 0);
    Outcome o = run(guest("arithmetic"));
    check_exit(o, 0);
    CHECK(o.output == "1f80 37f 7.484470860550\n");
    o = run(guest("layout"));
    check_exit(o, 0);
    CHECK(o.output.find("[stack]") != std::string::npos);
}

TEST_CASE("sealed contents do for files") {
    Outcome o = run({.argv = {"/bin/sh", "-c", "echo sealed"}}, {.sealed_files = true});
    check_exit(o, 0);
    CHECK(o.output == "sealed\n");
}

TEST_CASE("a program that was deleted meanwhile is restored") {
    char name[] = "/tmp/omxsup-test-XXXXXX";
    int fd = ::mkstemp(name);
    REQUIRE(fd >= 0);
    ::close(fd);
    std::filesystem::copy_file("/bin/echo", name, std::filesystem::copy_options::overwrite_existing);
    ::chmod(name, 0755);
    Outcome o = run({.argv = {name, "still here"}, .remove_before_capture = name});
    check_exit(o, 0);
    CHECK(o.output == "still here\n");
}

TEST_CASE("the extended state goes back into the processor") {
    Outcome o = run(guest("arithmetic"), {.mxcsr = 0x1f80 | 0x4000});          // rounds up
    check_exit(o, 0);
    CHECK(o.output.starts_with("5f80 37f 7.48447086"));
}

// Both stacks of mappings then end at the same address, and the node's vDSO has to move by less than its own size.
TEST_CASE("old and new place of the node's vDSO may overlap") {
    Launch l = guest("clocks");
    l.personality = ADDR_NO_RANDOMIZE;
    check_exit(run(l, {.stub_personality = ADDR_NO_RANDOMIZE}), 0);
    if (::access("/bin/busybox", X_OK) != 0) return;
    l = {.argv = {"/bin/busybox", "date", "+%Y"}, .personality = ADDR_NO_RANDOMIZE};
    Outcome o = run(l, {.stub_personality = ADDR_NO_RANDOMIZE});
    check_exit(o, 0);
    CHECK(std::atoi(o.output.c_str()) > 2000);
}

TEST_CASE("unusual layouts are restored") {
    SUBCASE("without randomization") {
        Launch l = guest("clocks");
        l.personality = ADDR_NO_RANDOMIZE;
        check_exit(run(l), 0);
        l = guest("deep stack");
        l.personality = ADDR_NO_RANDOMIZE;
        check_exit(run(l), 0);
    }
    SUBCASE("without a stack limit") {
        Launch l = guest("deep stack");
        l.stack_bytes = ~0ull;
        check_exit(run(l), 0);
        l = guest("heap");
        l.stack_bytes = ~0ull;
        check_exit(run(l), 0);
    }
}
