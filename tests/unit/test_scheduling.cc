#include "remote/scheduling.h"
#include <doctest/doctest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>

using namespace omx;

namespace {

CpuSet cpus(std::string_view list) {
    auto set = parse_cpu_list(list);
    REQUIRE(set);
    return *set;
}

Scheduling scheduled(std::string_view list, int nice = 0, uint32_t policy = SCHED_OTHER) {
    return {.policy = policy, .nice = nice, .cpus = cpus(list)};
}

// A node with these CPUs, whose guests' home has `home` of them.
SchedulingHere node(std::string_view own, uint32_t home, bool all_cpus = false, std::vector<CpuSet> memory = {}) {
    SchedulingHere here(scheduled(own), std::move(memory), all_cpus);
    REQUIRE(here.keep_within({.cpus = home, .memory_nodes = 1}));
    return here;
}

CpuSet given(const SchedulingHere& here, std::string_view at_home) { return here.wanted(scheduled(at_home)).cpus; }

// In a child, because nobody gets its priority back.
template <class Check> bool in_a_child(Check check) {
    pid_t child = fork();
    if (child == 0) _exit(check() ? 0 : 1);
    int status = 0;
    waitpid(child, &status, 0);
    return status == 0;
}

}  // namespace

TEST_CASE("a list of CPUs is what /sys says, or nothing") {
    CHECK(cpus("0-3,8\n").words() == std::vector<uint64_t>{0x10f});
    CHECK(cpus("64").words() == std::vector<uint64_t>{0, 1});
    CHECK(cpus("0-63") == CpuSet::below(64));
    CHECK(CpuSet::below(0).empty());
    for (auto text : {"", "x", "3-1", "1,", "0-", "0 1", "8192"}) CHECK_FALSE(parse_cpu_list(text));
}

TEST_CASE("sets of CPUs are equal if they have the same members") {
    CHECK((cpus("0,70") & cpus("0-3")) == cpus("0"));
    CHECK((cpus("0-3") - cpus("1,70")) == cpus("0,2-3"));
    CHECK(cpus("0-70").contains_all(cpus("64")));
    CHECK_FALSE(cpus("0-3").contains_all(cpus("64")));
    CHECK(CpuSet::of({1, 0, 0}) == cpus("0"));
}

TEST_CASE("what travels arrives, and what no kernel says is refused") {
    Scheduling s{.policy = SCHED_IDLE, .nice = -20, .priority = 99, .reset_on_fork = true, .cpus = cpus("0,100")};
    Bytes body;
    Writer w(body);
    s.encode(w);
    Reader r(body);
    CHECK(Scheduling::read(r) == s);
    CHECK(r.finished());
    CHECK(s.sound());
    CHECK_FALSE(Scheduling{.nice = 20}.sound());
    CHECK_FALSE(Scheduling{.nice = -21}.sound());
    CHECK_FALSE(Scheduling{.priority = 100}.sound());
    body[12] = std::byte{2};                            // reset_on_fork is neither 0 nor 1
    Reader other(body);
    Scheduling::read(other);
    CHECK_FALSE(other.ok());
}

TEST_CASE("a guest runs on CPUs whose numbers home has") {
    CHECK(given(node("0-63", 2), "0-1") == cpus("0-1"));
    CHECK(given(node("0-3", 64), "0-63") == cpus("0-3"));
    CHECK(given(node("1-63", 4), "0-3") == cpus("1-3"));
}

TEST_CASE("a guest that is pinned at home is pinned to the same CPUs, if the node has any of them") {
    CHECK(given(node("0-3", 8), "1,6") == cpus("1"));
    CHECK(given(node("0-3", 8), "6") == cpus("0-3"));
    CHECK(given(node("0-63", 8), "6") == cpus("6"));
}

TEST_CASE("a node that lends all its CPUs lends them to who is not pinned") {
    CHECK(given(node("0-63", 2, true), "0-1") == cpus("0-63"));
    CHECK(given(node("0-63", 2, true), "1") == cpus("1"));
    CHECK(given(node("8-63", 2, true), "1") == cpus("8-63"));
}

TEST_CASE("a node without a CPU whose number home has refuses") {
    SchedulingHere here(scheduled("32-63"), {}, false);
    auto refused = here.keep_within({.cpus = 4, .memory_nodes = 1});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().what.find("up to 3") != std::string::npos);
}

TEST_CASE("CPUs of memory nodes that home doesn't have are not used") {
    auto here = node("0-7", 8, false, {cpus("0,2,4,6"), cpus("1,3,5,7")});
    CHECK(given(here, "0-7") == cpus("0,2,4,6"));
}

TEST_CASE("a guest has the weaker of home's and the node's priority") {
    SchedulingHere polite(scheduled("0", 10, SCHED_BATCH), {}, false);
    REQUIRE(polite.keep_within({.cpus = 1, .memory_nodes = 1}));
    CHECK(polite.wanted(scheduled("0", 5)).nice == 10);
    CHECK(polite.wanted(scheduled("0", 15)).nice == 15);
    CHECK(polite.wanted(scheduled("0")).policy == SCHED_BATCH);
    CHECK(polite.wanted(scheduled("0", 0, SCHED_IDLE)).policy == SCHED_IDLE);
    CHECK(node("0", 1).wanted(scheduled("0", -5)).nice == 0);
    constexpr uint32_t deadline = 6;
    CHECK(node("0", 1).wanted(scheduled("0", 0, deadline)).policy == SCHED_OTHER);
    CHECK(node("0", 1).wanted({.policy = SCHED_FIFO, .priority = 7}).priority == 7);
}

TEST_CASE("the kernel is told, one thing after the other") {
    auto numbers = cpu_numbers();
    CHECK(numbers.cpus > 0);
    CHECK(numbers.memory_nodes > 0);
    auto here = SchedulingHere::of_this_node(false);
    REQUIRE(here);
    REQUIRE(here->keep_within(numbers));
    auto own = scheduling_of(HomeTid());
    REQUIRE(own);
    CHECK_FALSE(own->cpus.empty());
    CHECK(in_a_child([&] {
        auto wish = *own;
        wish.nice = 19, wish.policy = SCHED_BATCH, wish.reset_on_fork = true;
        here->apply(HomeTid(), wish);
        return scheduling_of(HomeTid()) == wish;
    }));
    // Who may not be a realtime thread, as nobody may here, is an ordinary one, and as nice as it should be.
    CHECK(in_a_child([&] {
        rlimit none{};
        setrlimit(RLIMIT_RTPRIO, &none);
        if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0) return false;
        auto wish = *own;
        wish.policy = SCHED_FIFO, wish.priority = 3, wish.nice = 7;
        here->apply(HomeTid(), wish);
        wish.policy = SCHED_OTHER, wish.priority = 0;
        return scheduling_of(HomeTid()) == wish;
    }));
}

TEST_CASE("a thread that is gone can't be asked") { CHECK_FALSE(scheduling_of(HomeTid(1 << 22))); }
