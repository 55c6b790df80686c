#include "remote/cpu_time.h"
#include <doctest/doctest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

using namespace omx;

namespace {

const HomePid me(getpid());
const HomeTid here(gettid());

volatile uint64_t sink;
void burn() { for (uint64_t i = 0; i < 20'000'000; i++) sink = i; }

}  // namespace

TEST_CASE("a CPU clock's number says whose it is and what it counts") {
    CHECK_FALSE(cpu_clock(CLOCK_MONOTONIC, me, here));
    CHECK_FALSE(cpu_clock(static_cast<int32_t>(~7u << 3 | 3), me, here));      // of a device behind descriptor 7
    auto process = cpu_clock(CLOCK_PROCESS_CPUTIME_ID, me, here);
    REQUIRE(process);
    CHECK(process->pid == me);
    CHECK(process->tid == HomeTid());
    CHECK(cpu_clock(CLOCK_THREAD_CPUTIME_ID, me, here)->tid == here);

    clockid_t id;
    REQUIRE(clock_getcpuclockid(me.value, &id) == 0);
    auto by_number = cpu_clock(id, HomePid(1), HomeTid(1));
    REQUIRE(by_number);
    CHECK(by_number->pid == me);
    CHECK(by_number->counts == CpuClock::Counts::precise);
    REQUIRE(pthread_getcpuclockid(pthread_self(), &id) == 0);
    CHECK(cpu_clock(id, me, HomeTid(1))->tid == here);
}

TEST_CASE("a process's clock is read from outside as it reads it itself") {
    burn();
    timespec before, after;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    auto read = read_cpu_clock({me, HomeTid()}, 0);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    auto ns = [](const timespec& t) { return static_cast<uint64_t>(t.tv_sec * 1'000'000'000 + t.tv_nsec); };
    REQUIRE(read);
    CHECK(*read >= ns(before));
    CHECK(*read <= ns(after));
    CHECK(*read_cpu_clock({me, HomeTid()}, UINT64_MAX) == 0);                  // never below nothing
    CHECK(read_cpu_clock({me, here}, 0).value_or(0) > 0);
    CHECK_FALSE(read_cpu_clock({HomePid(1 << 27), HomeTid()}, 0));
}

TEST_CASE("user and system time add up and never go back") {
    ToldCpuTime told;
    CpuUse last;
    for (int i = 0; i < 20; i++) {
        burn();
        auto use = cpu_use(me, HomeTid(), 0, told);
        CHECK(use.user_us >= last.user_us);
        CHECK(use.system_us >= last.system_us);
        CHECK(use.total_us() > last.total_us());
        CHECK(use.max_rss_kib > 0);
        last = use;
    }
    rusage usage{};
    usage.ru_utime = {1, 999'999};
    add_to(usage, {.user_us = 2, .system_us = 3, .max_rss_kib = 4});
    CHECK(usage.ru_utime.tv_sec == 2);
    CHECK(usage.ru_utime.tv_usec == 1);
    CHECK(usage.ru_stime.tv_usec == 3);
    CHECK(usage.ru_maxrss == 4);
}
