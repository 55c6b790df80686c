// CPU time that guests have used on this machine, as its kernel counts it. A program's CPU time is this and what its
// deputy has used at home; the worker adds the two where a guest asks (cpu_time.cc) or has set a timer (cpu_timers.cc).
#pragma once
#include "protocol/types.h"
#include <optional>
#include <sys/resource.h>
#include <sys/time.h>

namespace omx {

// What getrusage tells.
struct CpuUse {
    uint64_t user_us = 0, system_us = 0;
    int64_t max_rss_kib = 0, minor_faults = 0, major_faults = 0;
    void add(const CpuUse&);
    uint64_t total_us() const { return user_us + system_us; }
};
CpuUse cpu_use(const rusage&);
void add_to(rusage&, const CpuUse&);

// A CPU clock as a clockid_t names it: of a process (tid 0) or of one thread.
struct CpuClock {
    HomePid pid;                     // 0 if a thread is named: whose it is has to be found out
    HomeTid tid;
    enum class Counts : uint8_t { user_and_system, user, precise } counts = Counts::precise;
};
// nullopt: it is no CPU clock.
std::optional<CpuClock> cpu_clock(int32_t id, HomePid caller, HomeTid calling_thread);

// Nanoseconds, less what making and restoring the process has cost; nullopt: it is gone.
std::optional<uint64_t> read_cpu_clock(const CpuClock&, uint64_t restoring_ns);

// How user and system time were told the last time: neither may go back, though only their sum is exact (the kernel
// itself does it so).
struct ToldCpuTime { uint64_t user_us = 0, system_us = 0; };
// `tid` 0: of the whole process.
CpuUse cpu_use(HomePid, HomeTid, uint64_t restoring_ns, ToldCpuTime&);

// What its parent will see of a process that is here no more.
struct EndedUse { CpuUse own, children; };

// What a process has used, as its parent will see it, and what it told.
struct CpuAccount {
    CpuUse earlier;                  // by itself, before it came home and left again
    CpuUse children;                 // that have been waited for, with theirs
    uint64_t restoring_ns = 0;       // not the program's own: stub, image
    uint64_t restoring_since = 0;
    ToldCpuTime told;
    // The process's clock at home when it last said so, and how many calls it had made there by then.
    uint64_t home_ns = 0, home_at_call = 0;
    uint64_t calls = 0;
};

}  // namespace omx
