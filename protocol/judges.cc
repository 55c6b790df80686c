#include "protocol/judges.h"
#include "protocol/row_words.h"
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

namespace omx {

namespace {

constexpr Placement forward{Place::forward, {}};

Placement place_zerocopy(uint64_t flags) {
    if (!(flags & MSG_ZEROCOPY)) return forward;
    return {Place::home, "the guest's own pages would have to be sent after the call has returned"};
}

// Limits that the node's kernel has to keep, because the memory is there.
Placement place_limit(uint64_t resource) {
    switch (static_cast<uint32_t>(resource)) {
    case RLIMIT_AS: case RLIMIT_DATA: case RLIMIT_STACK:
        return {Place::both, "the memory that it limits is the node's"};
    default: return forward;
    }
}

constexpr uint64_t kNewNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER
                                    | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWTIME;

}  // namespace

Placement place_mmap(const CallArgs& args) {
    uint64_t flags = args[3];
    if ((flags & MAP_ANONYMOUS) && (flags & MAP_HUGETLB))
        return {Place::life, "home tries: if it has huge pages, the guest comes home for them"};
    if (locks_memory(SYS_mmap, args)) return {Place::life, words::locking};
    if (flags & MAP_ANONYMOUS) return {Place::local, {}};
    // Shared ones too: home tries first, so that what is refused natively is refused; what it can't let away, it says.
    return {Place::life, "home opens the way to the file's content, the node maps it"};
}

bool locks_memory(uint32_t nr, const CallArgs& args) {
    constexpr uint64_t kKind = MAP_ANONYMOUS | MAP_LOCKED | MAP_HUGETLB;
    switch (nr) {
    case SYS_mlock: case SYS_mlock2: case SYS_mlockall: return true;
    case SYS_mmap: return (args[3] & kKind) == (MAP_ANONYMOUS | MAP_LOCKED);
    default: return false;
    }
}

Placement place_clone(const CallArgs& args) {
    // CLONE_NEWTIME lies within the exit signal's byte of clone: there it isn't a flag.
    constexpr uint64_t kThread = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FILES | CLONE_FS;
    constexpr uint64_t kHarmless = CSIGNAL | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID
                                   | CLONE_CHILD_CLEARTID | CLONE_DETACHED | CLONE_UNTRACED | CLONE_CLEAR_SIGHAND;
    constexpr uint64_t kOfProcesses = CLONE_VM | CLONE_VFORK | CLONE_FS | CLONE_FILES | CLONE_PARENT | CLONE_SYSVSEM
                                      | CLONE_IO | CLONE_SIGHAND | CLONE_PIDFD;
    constexpr Placement life{Place::life, "deputy and guest get a new thread or child each, with one number"};
    uint64_t flags = args[0] & ~kHarmless;
    if (flags & (kNewNamespaces & ~uint64_t{CSIGNAL}))
        return {Place::home, "a process in namespaces of its own can't be served yet"};
    if (flags & CLONE_THREAD) {
        if ((flags & kThread) != kThread) return {Place::home, "a thread with files or a working directory of its own"};
        if (flags & ~(kThread | CLONE_SYSVSEM)) return {Place::home, "an unusual kind of thread (clone flags)"};
        return life;
    }
    if ((flags & CLONE_VM) && (flags & CLONE_SIGHAND))       // without CLONE_VM home's kernel refuses it
        return {Place::home, "a child that shares its parent's signal handlers"};
    if (flags & ~kOfProcesses) return {Place::home, "an unusual kind of child (clone flags)"};
    return life;
}

Placement place_unshare(const CallArgs& args) {
    // The rest is the deputy's own affair: files, working directory, semaphore adjustments.
    if (args[0] & kNewNamespaces) return {Place::home, "a process in namespaces of its own can't be served yet"};
    return forward;
}

Placement place_personality(const CallArgs& args) {
    if (static_cast<uint32_t>(args[0]) == 0xffffffff) return forward;      // only asks
    return {Place::both, "it changes how memory is laid out on the node, too"};
}

Placement place_setrlimit(const CallArgs& args) { return place_limit(args[0]); }

Placement place_prlimit(const CallArgs& args) {
    bool own = static_cast<uint32_t>(args[0]) == 0, sets = args[2] != 0;
    return own && sets ? place_limit(args[1]) : forward;
}

Placement place_itimer(const CallArgs& args) {
    switch (static_cast<uint32_t>(args[0])) {
    case ITIMER_VIRTUAL: case ITIMER_PROF: return {Place::cached, words::cpu_timers};
    default: return forward;
    }
}

Placement place_clock_gettime(const CallArgs& args) {
    auto clock = static_cast<int32_t>(args[0]);
    if (clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID)
        return {Place::cached, words::cpu_time};
    switch (clock) {
    case CLOCK_MONOTONIC: case CLOCK_MONOTONIC_COARSE: case CLOCK_BOOTTIME: case CLOCK_BOOTTIME_ALARM:
        return {Place::local, {}};
    case CLOCK_REALTIME: case CLOCK_REALTIME_COARSE: case CLOCK_REALTIME_ALARM: case CLOCK_TAI:
    case CLOCK_MONOTONIC_RAW:
        return {Place::cached, words::told_clock};
    // Negative numbers: the CPU clocks of a pid, or the clock of a device behind a descriptor.
    default: return forward;
    }
}

Placement place_clock_nanosleep(const CallArgs& args) {
    constexpr Placement home{Place::forward, words::homes_moment};
    switch (static_cast<int32_t>(args[0])) {
    case CLOCK_REALTIME_ALARM: case CLOCK_BOOTTIME_ALARM: return home;       // which wake the machine
    case CLOCK_REALTIME: case CLOCK_TAI: if (args[1] & TIMER_ABSTIME) return home; break;
    default: break;
    }
    return {Place::local, {}};
}

Placement place_clock_getres(const CallArgs& args) {
    if (static_cast<int32_t>(args[0]) < 0) return forward;      // EINVAL unless home has that process
    return {Place::local, {}};
}

Placement place_get_robust_list(const CallArgs& args) {
    if (static_cast<uint32_t>(args[0]) == 0) return {Place::local, {}};
    return {Place::memory_of, "the list of another thread is where that thread runs"};
}

Placement place_get_mempolicy(const CallArgs& args) {
    if (args[4] & MPOL_F_ADDR) return {Place::home, "it asks for the memory node of a page that is elsewhere"};
    return forward;
}

Placement place_sendto(const CallArgs& args) { return place_zerocopy(args[3]); }
Placement place_sendmsg(const CallArgs& args) { return place_zerocopy(args[2]); }
Placement place_sendmmsg(const CallArgs& args) { return place_zerocopy(args[3]); }

Placement place_xattr_args(const CallArgs& args) {
    if (args[5] > 16) return {Place::home, "a version of its struct that omxsup does not know"};
    return forward;
}

}  // namespace omx
