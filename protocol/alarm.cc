#include "protocol/alarm.h"
#include <algorithm>
#include <sys/timerfd.h>
#include <unistd.h>

namespace omx {

using namespace std::chrono;

Alarm::~Alarm() {
    if (timer_) loop_.unwatch_readable(timer_.get());
}

bool Alarm::ring_in(nanoseconds time) {
    if (!timer_) {
        timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
        if (!timer_) return false;
        loop_.watch_readable(timer_.get(), [this] { rings(); });
    }
    time = std::max(time, nanoseconds(1));             // 0 would switch it off
    itimerspec when{{}, {time / seconds(1), (time % seconds(1)).count()}};
    set_ = timerfd_settime(timer_.get(), 0, &when, nullptr) == 0;
    return set_;
}

void Alarm::rings() {
    uint64_t times;
    if (read(timer_.get(), &times, sizeof times) < 0) return;      // it has been set anew meanwhile
    set_ = false;
    handler_();
}

}  // namespace omx
