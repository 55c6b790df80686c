// Something that a loop does once, some time from now (by CLOCK_MONOTONIC, timerfd_create(2)). Costs a descriptor from
// when it is first set.
#pragma once
#include "protocol/loop.h"
#include "protocol/unique_fd.h"
#include <chrono>

namespace omx {

class Alarm {
public:
    Alarm(Loop& loop, Loop::Handler handler) : loop_(loop), handler_(std::move(handler)) {}
    ~Alarm();
    Alarm(const Alarm&) = delete;
    Alarm& operator=(const Alarm&) = delete;

    // From now on so long, instead of whatever was set before. False: no descriptor is to be had, it won't ring.
    bool ring_in(std::chrono::nanoseconds);
    bool is_set() const { return set_; }               // and hasn't rung; the handler finds false

private:
    void rings();

    Loop& loop_;
    Loop::Handler handler_;
    UniqueFd timer_;
    bool set_ = false;
};

}  // namespace omx
