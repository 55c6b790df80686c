#include "supervisor/home_clocks.h"
#include <algorithm>
#include <time.h>

namespace omx {

namespace {

int64_t read_clock(clockid_t id) {
    timespec t{};
    clock_gettime(id, &t);
    return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

// Read between two looks at CLOCK_MONOTONIC; an interruption in between shows, and then it is read again.
int64_t ahead_of_monotonic(clockid_t id) {
    int64_t shortest = INT64_MAX, ahead = 0;
    for (int i = 0; i < 3; i++) {
        int64_t before = read_clock(CLOCK_MONOTONIC), that = read_clock(id), after = read_clock(CLOCK_MONOTONIC);
        if (after - before >= shortest) continue;
        shortest = after - before;
        ahead = that - before - shortest / 2;
    }
    return ahead;
}

}  // namespace

ClockFrame home_clocks(int64_t asked) {
    ClockFrame c{.asked = asked};
    c.realtime = ahead_of_monotonic(CLOCK_REALTIME);
    c.tai = ahead_of_monotonic(CLOCK_TAI);
    c.boottime = ahead_of_monotonic(CLOCK_BOOTTIME);
    c.raw = ahead_of_monotonic(CLOCK_MONOTONIC_RAW);
    c.monotonic = read_clock(CLOCK_MONOTONIC);           // last: it is what the way to the node is measured by
    return c;
}

}  // namespace omx
