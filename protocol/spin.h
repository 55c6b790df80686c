// Bounded, adaptive waiting without sleeping. Waking an idle CPU costs tens of microseconds, a forwarded call's work
// ten; so while calls come in bursts both ends of a link look for the next frame for a moment before they sleep.
//
// It must never take time from somebody else, nor burn it for nothing:
//  * It begins with a sched_yield: if a task of this CPU was waiting (the other end of the link, perhaps), it runs
//    now. Whatever it was, spinning on would only keep it from running, so the wait ends there. A yield may also
//    return at once although somebody waits (EEVDF, while our turn is not used up): so it is repeated.
//  * A CPU that turns out to be shared is left alone for a while; for longer each time, until a spin succeeds. But
//    where most succeed it is the other end that we share it with, and a turn of another's means little.
//  * If more tasks are runnable than there are CPUs, there is no spinning at all (looked up once in a while).
//  * After some waits in vain it stops trying, until a sleep turns out to have been short.
#pragma once
#include "protocol/unique_fd.h"
#include <algorithm>
#include <chrono>
#include <cstdint>

namespace omx {

// How long not to spin, because somebody else had use for the CPU.
class SpinPause {
public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::milliseconds kShortest{2}, kLongest{200};
    static constexpr int kForgives = 4, kMostPaid = 32;    // so many that paid make up for one that didn't

    bool over(Clock::time_point now) const { return now >= until_; }
    void at_least(Clock::time_point now, Clock::duration time) { until_ = std::max(until_, now + time); }
    void shared(Clock::time_point now) {
        if (paid_ >= kForgives) {
            paid_ -= kForgives;
            return;
        }
        at_least(now, next_);
        next_ = std::min<Clock::duration>(next_ * 2, kLongest);
    }
    void alone() {
        next_ = kShortest;
        paid_ = std::min(paid_ + 1, kMostPaid);
    }

private:
    Clock::time_point until_{};
    Clock::duration next_ = kShortest;
    int paid_ = 0;
};

class Spinner {
public:
    using Clock = std::chrono::steady_clock;
    // $OMXSUP_SPIN_US overrides the budget, for measuring; 0 switches spinning off.
    explicit Spinner(std::chrono::microseconds budget = std::chrono::microseconds(200));

    // Calls `ready` until it returns true (then true) or the time is up. Call it when work has just been done.
    template <class Ready> bool wait(Ready&& ready) {
        if (!worth_it()) return false;
        auto start = Clock::now(), now = start, yield_at = start;
        for (; now - start < budget_; now = Clock::now()) {
            if (now >= yield_at) {
                yield_once();
                auto back = Clock::now();
                if (ready()) { succeeded(); return true; }
                if (back - now > kSomebodyRan) { pause_.shared(back); return false; }
                yield_at = back + kYieldEvery;
                continue;
            }
            for (int i = 0; i < kPauses; i++) __builtin_ia32_pause();
            if (ready()) { succeeded(); return true; }
        }
        failed();
        return false;
    }
    std::chrono::microseconds budget() const { return budget_; }
    // How long the sleep lasted that followed: a short one says that spinning would have paid.
    void slept(std::chrono::nanoseconds);

private:
    static constexpr std::chrono::nanoseconds kSomebodyRan{3000}, kYieldEvery{8000};
    static constexpr std::chrono::milliseconds kHoldOffLoaded{10}, kLookAtLoad{5};
    static constexpr int kPauses = 24, kFailuresToStop = 4;

    bool worth_it();
    static void yield_once();
    bool machine_is_loaded();
    void succeeded() {
        failures_ = 0;
        pause_.alone();
    }
    void failed() { failures_++; }

    std::chrono::microseconds budget_;
    int failures_ = 0;
    SpinPause pause_;
    Clock::time_point load_looked_at_{};
    UniqueFd load_;          // /proc/loadavg
    long cpus_;
};

}  // namespace omx
