#include "remote/guest_clocks.h"
#include "supervisor/home_clocks.h"
#include <doctest/doctest.h>
#include <unistd.h>

using namespace omx;

namespace {

// A page and clocks as a worker has them, but for the time namespace: settled, if it may be made here.
struct Clocks {
    GuestClocks guest;
    ClockFrame home = home_clocks(0);

    Clocks() {
        auto made = GuestClocks::make(UniqueFd(), 0);
        REQUIRE(made);
        guest = std::move(*made);
    }
};

int64_t ns(const timespec& t) { return t.tv_sec * kSecondNs + t.tv_nsec; }

}  // namespace

TEST_CASE("the distance of two clocks lies within what question and answer allow, and all of them together say most") {
    ClockGap gap;
    CHECK_FALSE(gap.known());
    gap.add(1000, 5500, 2000);                  // 3500 to 4500
    CHECK(gap.ahead() == 4000);
    gap.add(3000, 7450, 3400);                  // 4050 to 4450: a shorter way
    CHECK(gap.ahead() == 4250);
    CHECK(gap.uncertainty() == 400);
    gap.add(5000, 10000, 9000);                 // 1000 to 5000: says nothing new
    CHECK(gap.ahead() == 4250);
    gap.add(9000, 13100, 9200);                 // 3900 to 4100: a fast way back, after one that was fast there
    CHECK(gap.uncertainty() == 50);
    CHECK(gap.ahead() == 4075);
}

TEST_CASE("clocks that drift are followed, and by no more than a measurement proves") {
    ClockGap gap;
    gap.add(0, 1050, 100);                      // 950 to 1050
    CHECK(gap.ahead() == 1000);
    gap.add(1'000'000, 1'001'350, 1'000'150);   // 1200 to 1350, as good as the first
    CHECK(gap.ahead() == 1275);
    gap.add(2'000'000, 2'002'000, 2'001'000);   // 1000 to 2000: a slow way, and nothing wrong
    CHECK(gap.ahead() == 1275);
    gap.add(3'000'000, 3'003'000, 3'001'000);   // 2000 to 3000: a slow way, but at least 2000
    CHECK(gap.ahead() == 2000);
    gap.add(10, 5, 0);                          // heard before it was asked: no measurement
    CHECK(gap.ahead() == 2000);
}

TEST_CASE("nanoseconds become seconds and a rest that is never negative") {
    CHECK(moment_of(1'500'000'000).seconds == 1);
    CHECK(moment_of(1'500'000'000).nanoseconds == 500'000'000);
    CHECK(moment_of(-1).seconds == -1);
    CHECK(moment_of(-1).nanoseconds == 999'999'999);
    CHECK(moment_of(-kSecondNs).seconds == -1);
    CHECK(moment_of(-kSecondNs).nanoseconds == 0);
}

TEST_CASE("no guest is made before home has said what its clocks show") {
    Clocks c;
    CHECK_FALSE(c.guest.settle());
}

TEST_CASE("a guest's moment of CLOCK_REALTIME is one of its CLOCK_MONOTONIC") {
    Clocks c;
    c.home.asked = c.guest.now();
    c.guest.heard(c.home);
    c.guest.settle_without_namespace();
    timespec real = *c.guest.read(CLOCK_REALTIME);
    auto until = c.guest.in_monotonic(CLOCK_REALTIME, real);
    REQUIRE(until);
    CHECK(std::abs(ns(*until) - c.guest.monotonic()) < kSecondNs);
    CHECK(c.guest.in_monotonic(CLOCK_REALTIME, {1, 0})->tv_sec == 0);
    CHECK(c.guest.in_monotonic(CLOCK_REALTIME, {INT64_MAX, 5})->tv_sec > INT64_MAX / 2);
    CHECK_FALSE(c.guest.in_monotonic(CLOCK_REALTIME, {1, kSecondNs}));
    CHECK_FALSE(c.guest.in_monotonic(CLOCK_REALTIME, {-1, 0}));
    CHECK_FALSE(c.guest.read(CLOCK_MONOTONIC));
    CHECK_FALSE(c.guest.read(CLOCK_PROCESS_CPUTIME_ID));
}

TEST_CASE("a clock that was fast stands still; one that somebody has set back goes back") {
    Clocks c;
    c.home.asked = c.guest.now();
    c.guest.heard(c.home);
    c.guest.settle_without_namespace();
    auto before = ns(*c.guest.read(CLOCK_REALTIME));
    // Home is a second behind what it seemed: it was measured so, in no time at all.
    auto said = c.home;
    said.asked = c.guest.now();
    said.monotonic = c.guest.monotonic() - kSecondNs;
    c.guest.heard(said);
    auto after = ns(*c.guest.read(CLOCK_REALTIME));
    CHECK(after >= before);
    CHECK(ns(*c.guest.read(CLOCK_REALTIME)) == after);
    said.asked = 0;
    said.realtime -= 100 * kSecondNs;
    c.guest.heard(said);
    CHECK(ns(*c.guest.read(CLOCK_REALTIME)) < before - 90 * kSecondNs);
    CHECK(c.guest.monotonic() >= 0);
}

TEST_CASE("a moment that is lent stands in the pages until it is given back") {
    Clocks c;
    std::vector<LentMoment> lent;
    for (int i = 0; i < OMX_MOMENTS; i++) {
        auto moment = c.guest.lend({i, i});
        REQUIRE(moment);
        lent.push_back(std::move(*moment));
    }
    CHECK_FALSE(c.guest.lend({0, 0}));
    timespec there{};
    REQUIRE(pread(c.guest.pages(), &there, sizeof there, static_cast<off_t>(lent[7].offset())) == sizeof there);
    CHECK(there.tv_sec == 7);
    lent.erase(lent.begin() + 7);
    CHECK(c.guest.lend({1, 1}));
}
