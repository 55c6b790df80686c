// A POSIX timer on a CPU clock. At home it has its number and is never set; what it measures happens here.
#pragma once
#include "remote/cpu_time.h"
#include <csignal>

namespace omx {

struct CpuTimer {
    CpuClock clock;
    sigevent notify{};
    HomeTid thread;                              // SIGEV_THREAD_ID's; 0: the process is to get the signal
    uint64_t interval_ns = 0;
    std::optional<uint64_t> expires_ns;          // on the node's part of the clock; nullopt: not set
    int overrun = 0;                             // of its last signal
    uint64_t seen_ns = 0;                        // the clock when it was last looked at …
    unsigned idle_looks = 0;                     // … and how often in a row it had not moved
};

// setitimer's are kept among the others, by numbers that home's kernel gives to none. As those of a signal that home has
// been asked to raise they come back, since nobody may raise a signal in the kernel's name; the worker puts that right.
constexpr int32_t interval_timer(int32_t which) { return -1 - which; }
void as_the_kernels(siginfo_t&);

}  // namespace omx
