// Both backends must behave alike: every case runs with each.
#include "protocol/alarm.h"
#include "protocol/loop.h"
#include "protocol/unique_fd.h"
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>

using namespace omx;
using Clock = std::chrono::steady_clock;

namespace {

UniqueFd event(unsigned value) { return UniqueFd(eventfd(value, EFD_CLOEXEC | EFD_NONBLOCK)); }
void drain(int fd) { uint64_t value; CHECK(read(fd, &value, sizeof value) == sizeof value); }
void set(int fd) { uint64_t value = 1; CHECK(write(fd, &value, sizeof value) == sizeof value); }

std::pair<UniqueFd, UniqueFd> pair_of_sockets() {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// The loop under test, skipped where this machine has no io_uring.
struct LoopCase {
    std::unique_ptr<Loop> loop;
    explicit LoopCase(LoopKind kind) {
        auto made = Loop::make(kind);
        if (made) loop = std::move(*made);
        else MESSAGE("skipped: " << made.error().what);
        REQUIRE((loop || kind != LoopKind::epoll));
    }
    bool turn(int64_t timeout_us = 0) {
        auto ran = loop->run_once(timeout_us);
        REQUIRE_MESSAGE(ran, ran.error().what);
        return *ran;
    }
};

}  // namespace

#define FOR_BOTH_LOOPS                                                    \
    LoopKind kind = LoopKind::epoll;                                      \
    SUBCASE("epoll") { kind = LoopKind::epoll; }                          \
    SUBCASE("io_uring") { kind = LoopKind::io_uring; }                    \
    LoopCase with(kind);                                                  \
    if (!with.loop) return;                                               \
    [[maybe_unused]] auto& loop = *with.loop

TEST_CASE("loop: a backend says which it is, and automatic always finds one") {
    auto automatic = Loop::make();
    REQUIRE(automatic);
    FOR_BOTH_LOOPS;
    CHECK(loop.kind() == std::string(kind == LoopKind::epoll ? "epoll" : "io_uring"));
}

TEST_CASE("loop: level-triggered, so unread data calls again") {
    FOR_BOTH_LOOPS;
    auto fd = event(1);
    int calls = 0;
    loop.watch_readable(fd.get(), [&] { ++calls; });
    for (int i = 1; i <= 5; ++i) {
        CHECK(with.turn(-1));
        CHECK(calls == i);
    }
    drain(fd.get());
    with.turn(0);
    int after = calls;
    CHECK(after <= 6);      // readiness seen before the drain may be told once more
    CHECK_FALSE(with.turn(0));
    CHECK(calls == after);
    set(fd.get());
    CHECK(with.turn(-1));
    CHECK(calls == after + 1);
}

TEST_CASE("loop: readable and writable of one descriptor are separate") {
    FOR_BOTH_LOOPS;
    auto [ours, theirs] = pair_of_sockets();
    int reads = 0, writes = 0;
    loop.watch_readable(ours.get(), [&] { ++reads; });
    loop.watch_writable(ours.get(), [&] { ++writes; });
    CHECK(with.turn(-1));
    CHECK(reads == 0);
    CHECK(writes == 1);
    loop.unwatch_writable(ours.get());
    CHECK_FALSE(with.turn(0));
    CHECK(write(theirs.get(), "x", 1) == 1);
    CHECK(with.turn(-1));
    CHECK(reads == 1);
    CHECK(writes == 1);
}

TEST_CASE("loop: end of stream is readable") {
    FOR_BOTH_LOOPS;
    auto [ours, theirs] = pair_of_sockets();
    int calls = 0;
    loop.watch_readable(ours.get(), [&] { ++calls; });
    CHECK_FALSE(with.turn(0));
    theirs.reset();
    CHECK(with.turn(-1));
    CHECK(with.turn(-1));
    CHECK(calls == 2);
}

TEST_CASE("loop: a handler unwatched in the same turn is not called") {
    FOR_BOTH_LOOPS;
    auto a = event(1), b = event(1);
    int calls = 0;
    auto only_me = [&](int other) { ++calls; loop.unwatch_readable(other); };
    loop.watch_readable(a.get(), [&] { only_me(b.get()); });
    loop.watch_readable(b.get(), [&] { only_me(a.get()); });
    CHECK(with.turn(-1));
    CHECK(calls == 1);
    CHECK(with.turn(-1));
    CHECK(calls == 2);
}

TEST_CASE("loop: a handler may unwatch, replace and watch itself") {
    FOR_BOTH_LOOPS;
    auto fd = event(1);
    std::string trace;
    std::function<void()> second = [&] {
        trace += "b";
        loop.unwatch_readable(fd.get());
        loop.watch_readable(fd.get(), [&] { trace += "c"; loop.unwatch_readable(fd.get()); });
    };
    loop.watch_readable(fd.get(), [&, kept = std::string("alive")] {
        loop.watch_readable(fd.get(), second);
        trace += kept == "alive" ? "a" : "?";      // the closure outlives its replacement
    });
    for (int i = 0; i < 3; ++i) CHECK(with.turn(-1));
    CHECK_FALSE(with.turn(0));
    CHECK(trace == "abc");
}

TEST_CASE("loop: a number closed and opened anew within a turn is another descriptor") {
    FOR_BOTH_LOOPS;
    UniqueFd fds[2] = {event(1), event(1)};
    int replaced = -1, fresh = 0;
    // Whichever handler runs first puts a silent descriptor in the other's place, under the same number.
    auto handle = [&](int mine) {
        REQUIRE(replaced != mine);
        drain(fds[mine].get());
        if (replaced >= 0) return;
        replaced = 1 - mine;
        int number = fds[replaced].get();
        loop.unwatch_readable(number);
        fds[replaced].reset();
        fds[replaced] = event(0);
        REQUIRE(fds[replaced].get() == number);      // the lowest free number
        loop.watch_readable(number, [&] { ++fresh; });
    };
    for (int i : {0, 1}) loop.watch_readable(fds[i].get(), [&, i] { handle(i); });
    CHECK(with.turn(-1));
    with.turn(0);
    with.turn(0);
    REQUIRE(replaced >= 0);
    CHECK(fresh == 0);
    set(fds[replaced].get());
    CHECK(with.turn(-1));
    CHECK(fresh == 1);
}

TEST_CASE("loop: closed while watched and opened anew, then watched again") {
    FOR_BOTH_LOOPS;
    auto fd = event(0);
    int number = fd.get(), calls = 0;
    loop.watch_readable(number, [] { FAIL("the old descriptor never becomes ready"); });
    CHECK_FALSE(with.turn(0));
    auto other = event(1);
    REQUIRE(dup3(other.get(), number, O_CLOEXEC) == number);      // closes the old one under the loop's feet
    loop.watch_readable(number, [&] { ++calls; });
    CHECK(with.turn(-1));
    CHECK(calls == 1);
}

TEST_CASE("loop: after unwatch and close the peer sees the end, without another turn") {
    FOR_BOTH_LOOPS;
    auto [ours, theirs] = pair_of_sockets();
    loop.watch_readable(ours.get(), [] {});
    CHECK_FALSE(with.turn(0));
    loop.unwatch_readable(ours.get());
    ours.reset();
    pollfd end{theirs.get(), POLLIN, 0};
    CHECK(poll(&end, 1, 5000) == 1);
    char c;
    CHECK(read(theirs.get(), &c, 1) == 0);
}

TEST_CASE("loop: timeouts in microseconds") {
    FOR_BOTH_LOOPS;
    auto fd = event(0);
    loop.watch_readable(fd.get(), [] { FAIL("never ready"); });
    for (int64_t timeout_us : {0, 1, 300, 20'000}) {
        // A wait may end early: the kernel interrupts this thread once, up to 20 ms later, for each ring that it has
        // closed, and earlier test cases have closed many.
        bool waited = false;
        for (int attempt = 0; attempt < 1000 && !waited; ++attempt) {
            auto before = Clock::now();
            CHECK_FALSE(with.turn(timeout_us));
            waited = Clock::now() - before >= std::chrono::microseconds(timeout_us);
        }
        CHECK(waited);
    }
}

TEST_CASE("loop: more descriptors than the ring has entries") {
    FOR_BOTH_LOOPS;
    constexpr int count = 400;
    std::vector<UniqueFd> fds;
    int calls = 0;
    for (int i = 0; i < count; ++i) {
        fds.push_back(event(1));
        REQUIRE(fds.back().valid());
        loop.watch_readable(fds.back().get(), [&, i] { drain(fds[static_cast<size_t>(i)].get()); ++calls; });
    }
    while (calls < count) CHECK(with.turn(-1));
    with.turn(0);
    CHECK(calls == count);
    for (auto& fd : fds) loop.unwatch_readable(fd.get());
    for (auto& fd : fds) set(fd.get());
    CHECK_FALSE(with.turn(0));
}

TEST_CASE("loop: a handler may run the loop itself") {
    FOR_BOTH_LOOPS;
    auto a = event(1), b = event(1);
    int inner = 0;
    loop.watch_readable(a.get(), [&] {
        loop.unwatch_readable(a.get());
        loop.watch_readable(b.get(), [&] { ++inner; drain(b.get()); });
        CHECK(with.turn(-1));
    });
    CHECK(with.turn(-1));
    CHECK(inner == 1);
}

TEST_CASE("loop: a descriptor that is not open is an error, not a hang") {
    FOR_BOTH_LOOPS;
    int number = event(0).get();      // closed again at the end of this line
    loop.watch_readable(number, [] {});
    auto ran = loop.run_once(0);
    REQUIRE_FALSE(ran);
    CHECK(ran.error().code == EBADF);
    CHECK(ran.error().what.find(fmt::format("watching descriptor {}", number)) != std::string::npos);
}

TEST_CASE("loop: a signal interrupts the wait and is no error") {
    FOR_BOTH_LOOPS;
    struct sigaction action{}, before{};
    action.sa_handler = [](int) {};
    REQUIRE(sigaction(SIGUSR1, &action, &before) == 0);
    // Again and again, because the first one may come before the wait has begun.
    timer_t timer;
    sigevent how{};
    how.sigev_notify = SIGEV_THREAD_ID;
    how.sigev_signo = SIGUSR1;
    how._sigev_un._tid = gettid();
    REQUIRE(timer_create(CLOCK_MONOTONIC, &how, &timer) == 0);
    itimerspec often{{0, 1'000'000}, {0, 1'000'000}};
    REQUIRE(timer_settime(timer, 0, &often, nullptr) == 0);
    CHECK_FALSE(with.turn(-1));
    timer_delete(timer);
    sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE("loop: signalfd") {
    FOR_BOTH_LOOPS;
    sigset_t set_of_one, before;
    sigemptyset(&set_of_one);
    sigaddset(&set_of_one, SIGUSR2);
    REQUIRE(pthread_sigmask(SIG_BLOCK, &set_of_one, &before) == 0);
    UniqueFd fd(signalfd(-1, &set_of_one, SFD_CLOEXEC | SFD_NONBLOCK));
    int got = 0;
    loop.watch_readable(fd.get(), [&] {
        signalfd_siginfo info;
        if (read(fd.get(), &info, sizeof info) == sizeof info) got = static_cast<int>(info.ssi_signo);
    });
    CHECK_FALSE(with.turn(0));
    pthread_kill(pthread_self(), SIGUSR2);
    while (got == 0) with.turn(-1);
    CHECK(got == SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_CASE("an alarm rings once, when it was set for last") {
    using namespace std::chrono;
    for (auto kind : {omx::LoopKind::io_uring, omx::LoopKind::epoll}) {
        auto loop = omx::Loop::make(kind);
        if (!loop) continue;                                 // switched off on this machine
        int rung = 0, other = 0;
        omx::Alarm alarm(**loop, [&] { rung++; }), late(**loop, [&] { other++; });
        CHECK(!alarm.is_set());
        REQUIRE(alarm.ring_in(hours(1)));
        REQUIRE(alarm.ring_in(microseconds(100)));
        CHECK(alarm.is_set());
        while (!rung) REQUIRE((*loop)->run_once(-1));
        CHECK(!alarm.is_set());
        {
            omx::Alarm never(**loop, [&] { rung = 100; });
            REQUIRE(never.ring_in(nanoseconds(0)));
        }
        REQUIRE(late.ring_in(milliseconds(2)));
        while (!other) REQUIRE((*loop)->run_once(-1));
        CHECK(rung == 1);
    }
}
