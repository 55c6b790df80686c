// Bounded, adaptive waiting without sleeping. Waking an idle CPU costs tens of microseconds, a forwarded call's work
// ten; so while calls come in bursts both ends of a link look for the next frame for a moment before they sleep.
//
// It must never take time from somebody else, nor burn it for nothing:
//  * The first look is a sched_yield: if a task of this CPU was waiting (the other end of the link, perhaps), it runs
//    now. Whatever it was, spinning on would only keep it from running, so the wait ends there.
//  * If more tasks are runnable than there are CPUs, there is no spinning at all (looked up once in a while).
//  * After some waits in vain it stops trying, until a sleep turns out to have been short.
#pragma once
#include "protocol/unique_fd.h"
#include <chrono>
#include <cstdint>

namespace omx {

class Spinner {
public:
    using Clock = std::chrono::steady_clock;
    // $OMXSUP_SPIN_US overrides the budget, for measuring; 0 switches spinning off.
    explicit Spinner(std::chrono::microseconds budget = std::chrono::microseconds(200));

    // Calls `ready` until it returns true (then true) or the time is up. Call it when work has just been done.
    template <class Ready> bool wait(Ready&& ready) {
        if (!worth_it()) return false;
        auto start = Clock::now();
        yield_once();
        auto after_yield = Clock::now();
        if (ready()) { succeeded(); return true; }
        if (after_yield - start > kSomebodyRan) { hold_off(after_yield, kHoldOffShared); return false; }
        for (auto now = after_yield; now - start < budget_; now = Clock::now()) {
            for (int i = 0; i < kPauses; i++) __builtin_ia32_pause();
            if (ready()) { succeeded(); return true; }
        }
        failed();
        return false;
    }
    // How long the sleep lasted that followed: a short one says that spinning would have paid.
    void slept(std::chrono::nanoseconds);

private:
    static constexpr std::chrono::nanoseconds kSomebodyRan{3000};
    static constexpr std::chrono::milliseconds kHoldOffShared{2}, kHoldOffLoaded{10}, kLookAtLoad{5};
    static constexpr int kPauses = 24, kFailuresToStop = 4;

    bool worth_it();
    static void yield_once();
    bool machine_is_loaded();
    void succeeded() { failures_ = 0; }
    void failed() { failures_++; }
    void hold_off(Clock::time_point from, std::chrono::nanoseconds time) { not_before_ = from + time; }

    std::chrono::microseconds budget_;
    int failures_ = 0;
    Clock::time_point not_before_{}, load_looked_at_{};
    UniqueFd load_;          // /proc/loadavg
    long cpus_;
};

}  // namespace omx
