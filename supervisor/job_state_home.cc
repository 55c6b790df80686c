// A process that comes home: what the kernel keeps for it besides memory and threads.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <csignal>
#include <ctime>

#include "supervisor/job.h"

namespace omx {

namespace {
using Ops = std::vector<SlotOp>;
constexpr uint32_t kMseal = 462;                                 // Linux 6.10
constexpr uint64_t kNsPerSecond = 1'000'000'000;

timespec to_timespec(uint64_t ns) {
    return {static_cast<time_t>(ns / kNsPerSecond), static_cast<long>(ns % kNsPerSecond)};
}
timeval to_timeval(uint64_t ns) {
    uint64_t us = (ns + 999) / 1000;                            // what is left is never nothing
    return {static_cast<time_t>(us / 1'000'000), static_cast<suseconds_t>(us % 1'000'000)};
}
}  // namespace

// Whatever this kernel doesn't know, or this process may not do here, is left out: none of it changes what memory holds.
void Job::plan_traits(Process& p) {
    constexpr std::pair<uint32_t, int> advice[] = {
        {trait::dont_fork, MADV_DONTFORK}, {trait::wipe_on_fork, MADV_WIPEONFORK},
        {trait::huge_pages, MADV_HUGEPAGE}, {trait::no_huge_pages, MADV_NOHUGEPAGE},
        {trait::mergeable, MADV_MERGEABLE}, {trait::dont_dump, MADV_DONTDUMP},
        {trait::sequential, MADV_SEQUENTIAL}, {trait::random, MADV_RANDOM}};
    auto& h = *p.homecoming;
    Ops ops;
    for (auto& g : h.image->regions) {
        if (g.kind == RegionKind::vdso) continue;
        uint64_t bytes = g.end - g.start;
        for (auto [bit, what] : advice)
            if (g.traits & bit)
                ops.push_back(op(SYS_madvise, {g.start, bytes, static_cast<uint64_t>(what)}, OMX_OP_MAY_FAIL));
        uint64_t how = g.traits & trait::locked_on_fault ? MLOCK_ONFAULT : 0;
        if (g.traits & trait::locked) ops.push_back(op(SYS_mlock2, {g.start, bytes, how}, OMX_OP_MAY_FAIL));
    }
    // What is mapped for a moment by the deputy itself is locked, too.
    if (uint64_t future = h.image->locks_future & (MCL_FUTURE | MCL_ONFAULT); future & MCL_FUTURE)
        ops.push_back(op(SYS_mlockall, {future}, OMX_OP_MAY_FAIL));
    // Behind everything else: no mapping of it can be changed from then on.
    for (auto& g : h.image->regions)
        if (g.traits & trait::sealed) ops.push_back(op(kMseal, {g.start, g.end - g.start, 0}, OMX_OP_MAY_FAIL));
    plan_ops(h, std::move(ops));
}

// What was left of them on the node runs out at home. A limit of CPU time is a timer here, too: the kernel's own counts
// from zero, and its number is not ours to change.
void Job::plan_cpu_timers(Process& p) {
    using Kind = CpuTimerState::Kind;
    auto& h = *p.homecoming;
    auto& lead = *thread(h.lead);
    for (auto& timer : h.image->cpu_timers) {
        itimerspec when{to_timespec(timer.interval_ns), to_timespec(timer.left_ns)};
        itimerval also{to_timeval(timer.interval_ns), to_timeval(timer.left_ns)};
        auto number = static_cast<uint64_t>(timer.number);
        switch (timer.kind) {
            case Kind::interval:
                h.work.push_back([this, &lead, number, also] {
                    auto at = own_data(lead, &also, sizeof also);
                    return Ops{op(SYS_setitimer, {number, at, 0}, OMX_OP_MAY_FAIL)};
                });
                break;
            case Kind::limit:
                h.work.push_back([this, &lead, number] {
                    struct { sigevent how{}; int32_t id = -1; } made;
                    made.how.sigev_notify = SIGEV_SIGNAL, made.how.sigev_signo = static_cast<int>(number);
                    auto at = own_data(lead, &made, sizeof made);
                    auto id = at + offsetof(decltype(made), id);
                    return Ops{op(SYS_timer_create, {CLOCK_PROCESS_CPUTIME_ID, at, id}, OMX_OP_MAY_FAIL)};
                });
                [[fallthrough]];
            case Kind::posix:
                h.work.push_back([this, &lead, timer, number, when] {
                    int32_t made = -1;
                    std::memcpy(&made, in_slot(lead, own_place(lead) + sizeof(sigevent), sizeof made), sizeof made);
                    auto id = timer.kind == Kind::posix ? number : static_cast<uint64_t>(made);
                    return Ops{op(SYS_timer_settime, {id, 0, own_data(lead, &when, sizeof when), 0}, OMX_OP_MAY_FAIL)};
                });
                break;
        }
    }
}

}  // namespace omx
