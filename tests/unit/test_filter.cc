#include "loader/restore.h"
#include "protocol/table.h"
#include "remote/filter.h"
#include "tests/unit/bpf_machine.h"
#include <algorithm>
#include <doctest/doctest.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <random>
#include <sys/mman.h>
#include <sys/syscall.h>

using namespace omx;

namespace {

constexpr uint32_t kNotify = SECCOMP_RET_USER_NOTIF, kAllow = SECCOMP_RET_ALLOW, kTrace = SECCOMP_RET_TRACE,
                   kKill = SECCOMP_RET_KILL_PROCESS;

const FilterProgram& program() {
    static const auto made = build_filter();
    REQUIRE(made);
    return *made;
}

uint32_t verdict(uint32_t nr, const CallArgs& args = {}, uint32_t arch = AUDIT_ARCH_X86_64) {
    seccomp_data data{.nr = static_cast<int>(nr), .arch = arch, .instruction_pointer = 0, .args = {}};
    std::copy(args.begin(), args.end(), data.args);
    auto result = test::evaluate(program(), data);
    REQUIRE_MESSAGE(result, "the filter uses an instruction that the test's machine lacks");
    return *result;
}

// What the table says, in the filter's words: the plain version that the clever one must agree with.
uint32_t expected(uint32_t nr, const CallArgs& args) {
    auto row = find_row(nr);
    if (!row) return kNotify;
    if (traced_by_ptrace(*row)) return kTrace;
    auto any = [&](std::span<const When> whens) {
        return std::ranges::any_of(whens, [&](const When& when) { return when.holds(args); });
    };
    if (any(row->stopped_when)) return kTrace;
    if (untrapped(*row)) return kAllow;
    return any(row->local_when) ? kAllow : kNotify;
}

}  // namespace

TEST_CASE("the filter says of every row what the table says, whatever the arguments") {
    std::mt19937_64 random(1);
    for (uint32_t nr = 0; nr < 1024; nr++) {
        CHECK_MESSAGE(verdict(nr) == expected(nr, {}), "call ", nr);
        for (int i = 0; i < 64; i++) {
            CallArgs args;
            for (auto& a : args) a = i % 2 ? random() : random() & 0xff;
            CHECK_MESSAGE(verdict(nr, args) == expected(nr, args), "call ", nr);
        }
    }
}

TEST_CASE("reading a clock traps unless the guests' time namespace keeps it") {
    for (uint64_t clock : {CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM})
        CHECK(verdict(SYS_clock_gettime, {clock, 0}) == kAllow);
    for (uint64_t clock : {CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_TAI, CLOCK_MONOTONIC_RAW})
        CHECK(verdict(SYS_clock_gettime, {clock, 0}) == kNotify);
    CHECK(verdict(SYS_gettimeofday) == kNotify);
    CHECK(verdict(SYS_time) == kNotify);
    CHECK(verdict(SYS_clock_gettime, {CLOCK_PROCESS_CPUTIME_ID, 0}) == kNotify);
    CHECK(verdict(SYS_clock_gettime, {CLOCK_THREAD_CPUTIME_ID, 0}) == kNotify);
    CHECK(verdict(SYS_clock_gettime, {static_cast<uint64_t>(-6), 0}) == kNotify);          // of some process
}

TEST_CASE("waits trap where they name a moment that the node's kernel doesn't know") {
    for (uint64_t op = 0; op < 16; op++)
        for (uint64_t flags : {0, FUTEX_PRIVATE_FLAG})
            CHECK(verdict(SYS_futex, {0, op | flags}) == (op == FUTEX_LOCK_PI || op == 14 ? kTrace : kAllow));
    CHECK(verdict(SYS_futex, {0, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME}) == kTrace);
    CHECK(verdict(SYS_futex_waitv, {0, 0, 0, 0, CLOCK_MONOTONIC}) == kAllow);
    CHECK(verdict(SYS_futex_waitv, {0, 0, 0, 0, CLOCK_REALTIME}) == kTrace);
    // The worker notes when a relative one began, and lets it go on.
    for (uint64_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI}) {
        CHECK(verdict(SYS_clock_nanosleep, {clock, 0}) == kNotify);
        CHECK(place_of(SYS_clock_nanosleep, {clock, 0}).place == Place::local);
    }
    for (uint64_t clock : {CLOCK_MONOTONIC, CLOCK_BOOTTIME})
        CHECK(verdict(SYS_clock_nanosleep, {clock, TIMER_ABSTIME}) == kAllow);
    CHECK(verdict(SYS_clock_nanosleep, {CLOCK_REALTIME, TIMER_ABSTIME}) == kNotify);
    CHECK(verdict(SYS_clock_nanosleep, {CLOCK_PROCESS_CPUTIME_ID, TIMER_ABSTIME}) == kTrace);
    CHECK(place_of(SYS_clock_nanosleep, {CLOCK_REALTIME, TIMER_ABSTIME}).place == Place::forward);
    CHECK(place_of(SYS_clock_nanosleep, {CLOCK_PROCESS_CPUTIME_ID, 0}).place == Place::local);
}

TEST_CASE("anonymous memory never traps, files do") {
    CHECK(verdict(SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, ~uint64_t{0}, 0}) == kAllow);
    CHECK(verdict(SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE, 3, 0}) == kNotify);
    CHECK(verdict(SYS_mmap, {0, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, 3, 0}) == kNotify);
}

TEST_CASE("the stub can ask for its plan, and signals can return") {
    CHECK(verdict(kStubWantsPlan) == kNotify);
    CHECK(verdict(kStubReady) == kNotify);
    CHECK(verdict(SYS_rt_sigreturn) == kTrace);
    CHECK(verdict(SYS_restart_syscall) == kAllow);
}

TEST_CASE("other entries into the kernel end the guest") {
    CHECK(verdict(SYS_getpid, {}, AUDIT_ARCH_I386) == kKill);
    CHECK(verdict(0x40000000u | SYS_read) == kKill);
}

TEST_CASE("the filter is a tree, not a list") { CHECK(program().size() < 1000); }
