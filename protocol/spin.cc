#include "protocol/spin.h"

#include <fcntl.h>
#include <sched.h>

#include <cstdlib>
#include <cstring>

namespace omx {

namespace {
std::chrono::microseconds budget_or(std::chrono::microseconds normal) {
    const char* wish = getenv("OMXSUP_SPIN_US");
    return wish ? std::chrono::microseconds(strtoul(wish, nullptr, 10)) : normal;
}
}  // namespace

Spinner::Spinner(std::chrono::microseconds budget)
    : budget_(budget_or(budget)),
      load_(open("/proc/loadavg", O_RDONLY | O_CLOEXEC)),
      cpus_(sysconf(_SC_NPROCESSORS_ONLN)) {}

bool Spinner::worth_it() {
    if (budget_.count() == 0 || failures_ >= kFailuresToStop) return false;
    auto now = Clock::now();
    if (!pause_.over(now)) return false;
    if (now - load_looked_at_ > kLookAtLoad) {
        load_looked_at_ = now;
        if (machine_is_loaded()) {
            pause_.at_least(now, kHoldOffLoaded);
            return false;
        }
    }
    return true;
}

void Spinner::yield_once() { sched_yield(); }

// The fourth field of /proc/loadavg: tasks runnable now / tasks. At the moment of looking we are one of them, and we
// have just woken the other end of the link; one more is not a load yet.
bool Spinner::machine_is_loaded() {
    char text[128];
    auto n = pread(load_.get(), text, sizeof text - 1, 0);
    if (n <= 0) return false;
    text[n] = 0;
    const char* at = text;
    for (int field = 0; field < 3 && at; field++) at = (at = strchr(at, ' ')) ? at + 1 : nullptr;
    return at && strtol(at, nullptr, 10) > cpus_ + 1;
}

void Spinner::slept(std::chrono::nanoseconds time) {
    if (time < budget_) failures_ = 0;
}

}  // namespace omx
