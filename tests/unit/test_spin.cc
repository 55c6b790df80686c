// Spinning must pay where the CPU is free and cost next to nothing where it is not.
#include "protocol/spin.h"
#include <doctest/doctest.h>
#include <sched.h>
#include <atomic>
#include <ctime>
#include <thread>

using namespace omx;
using namespace std::chrono;

namespace {

nanoseconds cpu_time() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return seconds(t.tv_sec) + nanoseconds(t.tv_nsec);
}

int some_cpu() {
    cpu_set_t allowed;
    REQUIRE(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &allowed)) return cpu;
    return 0;
}

void stay_on(int cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
}

}  // namespace

TEST_CASE("spin: a shared CPU is left alone for longer each time, until a spin succeeds") {
    SpinPause pause;
    SpinPause::Clock::time_point now{seconds(1)};
    CHECK(pause.over(now));
    milliseconds expected{2};
    for (int i = 0; i < 10; ++i) {
        pause.shared(now);
        CHECK_FALSE(pause.over(now + expected - nanoseconds(1)));
        CHECK(pause.over(now + expected));
        now += expected;
        expected = std::min(expected * 2, milliseconds(200));
    }
    pause.alone();
    pause.shared(now);
    CHECK(pause.over(now + milliseconds(2)));
}

TEST_CASE("spin: one that failed among many that paid is forgiven, two in a row are not") {
    SpinPause pause;
    SpinPause::Clock::time_point now{seconds(1)};
    for (int i = 0; i < SpinPause::kForgives; ++i) pause.alone();
    pause.shared(now);
    CHECK(pause.over(now));
    pause.shared(now);
    CHECK_FALSE(pause.over(now));
}

TEST_CASE("spin: a pause for load doesn't shorten one that runs") {
    SpinPause pause;
    SpinPause::Clock::time_point now{seconds(1)};
    for (int i = 0; i < 5; ++i) pause.shared(now);
    pause.at_least(now, milliseconds(10));
    CHECK_FALSE(pause.over(now + milliseconds(31)));
    CHECK(pause.over(now + milliseconds(32)));
}

TEST_CASE("spin: next to a busy neighbour on its CPU it hardly takes any time") {
    int cpu = some_cpu();
    std::atomic<bool> end = false;
    std::thread neighbour([&] {
        stay_on(cpu);
        while (!end) {}
    });
    nanoseconds used{};
    std::thread spinning([&] {
        stay_on(cpu);
        Spinner spinner;
        auto until = steady_clock::now() + milliseconds(300);
        while (steady_clock::now() < until) {
            auto before = cpu_time();
            spinner.wait([] { return false; });
            used += cpu_time() - before;
            std::this_thread::sleep_for(microseconds(500));
        }
    });
    spinning.join();
    end = true;
    neighbour.join();
    CHECK(used < milliseconds(15));      // 5 %; spinning to the end each time would take a third of the CPU
}
