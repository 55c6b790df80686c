// Calls about clocks that the guests' time namespace doesn't keep: bare system calls that read one (our vDSO reads it
// without a call), and waits until a moment of one. Such a wait is held before it begins, and the node's kernel gets it
// with the same moment of a clock that it has: for CLOCK_REALTIME of CLOCK_MONOTONIC, for CPU time of its own part.
#include "remote/worker.h"
#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/time.h>

namespace omx {
namespace {

// 0 or an errno, as the kernel answers.
template <class T> int64_t write_to(GuestMemory& memory, uint64_t at, const T& value) {
    return memory.write(GuestAddr(at), std::as_bytes(std::span(&value, 1))) == sizeof value ? 0 : -EFAULT;
}

// Where a wait has its moment, and of which clock.
struct Wait {
    unsigned long long user_regs_struct::*until;
    clockid_t clock;
};

// Rewritten, so that only the moment is left to be. nullopt: it names none, or is none that there is.
std::optional<Wait> rewrite(user_regs_struct& r) {
    switch (r.orig_rax) {
        case SYS_futex:
            switch (r.rsi & static_cast<unsigned>(FUTEX_CMD_MASK)) {
                case FUTEX_WAIT_BITSET: case FUTEX_WAIT_REQUEUE_PI: case abi::kFutexLockPi2: break;
                case FUTEX_LOCK_PI:                                         // the same, by the clock that a flag says
                    if (r.rsi & FUTEX_CLOCK_REALTIME) return std::nullopt;
                    r.rsi = (r.rsi & FUTEX_PRIVATE_FLAG) | abi::kFutexLockPi2;
                    break;
                default: return std::nullopt;
            }
            r.rsi &= ~uint64_t{FUTEX_CLOCK_REALTIME};
            return Wait{&user_regs_struct::r10, CLOCK_REALTIME};
        case SYS_futex_waitv: r.r8 = CLOCK_MONOTONIC; return Wait{&user_regs_struct::r10, CLOCK_REALTIME};
        case abi::kFutexWait: r.r9 = CLOCK_MONOTONIC; return Wait{&user_regs_struct::r8, CLOCK_REALTIME};
        case SYS_clock_nanosleep: return Wait{&user_regs_struct::rdx, static_cast<clockid_t>(r.rdi)};
        default: return std::nullopt;
    }
}

}  // namespace

// Held before its wait. What makes no sense goes on as it is: the kernel says so.
void Worker::begin_timed_call(Thread& t) {
    auto& p = *t.process;
    auto regs = t.at_stop;
    auto wait = rewrite(regs);
    timespec until;
    p.memory.through(t.tid);
    GuestAddr at(wait ? regs.*wait->until : 0);
    bool has_moment =
        !at.null() && p.clocks && p.memory.read(at, std::as_writable_bytes(std::span(&until, 1))) == sizeof until;
    auto moment = has_moment ? for_this_kernel(t, wait->clock, until) : std::nullopt;
    if (!moment) return resume(t);
    auto lent = clocks_.lend(*moment);
    if (!lent) return rerun_held_call(t);                    // hundreds wait so: it tries again
    regs.*wait->until = p.clocks + lent->offset();
    if (!tracee::set_registers(t.tid, regs)) return;
    t.lent_moment = std::move(lent);
    resume(t, {PTRACE_SYSCALL, 0});                          // to its end
}

// If it is to be restarted it begins anew, with what its moment is by then.
void Worker::timed_call_over(Thread& t) {
    user_regs_struct regs;
    t.lent_moment.reset();
    if (tracee::registers(t.tid, regs)) {
        tracee::restore_arguments(regs, t.at_stop);
        tracee::set_registers(t.tid, regs);
    }
    resume(t);
}

// Of CPU time home has used its part, and making the guest has cost some that is not its own.
std::optional<timespec> Worker::for_this_kernel(Thread& t, clockid_t id, const timespec& moment) {
    auto clock = cpu_clock(id, t.process->pid, t.tid);
    if (!clock) return clocks_.in_monotonic(id, moment);
    auto owner = guests_.process(clock->pid);
    if (!owner || moment.tv_sec < 0 || moment.tv_nsec < 0 || moment.tv_nsec >= kSecondNs) return std::nullopt;
    int64_t elsewhere = clock->tid.value ? 0 : static_cast<int64_t>(owner->cpu.home_ns);
    auto ours = static_cast<int64_t>(restoring_ns(*clock)) - elsewhere;
    auto m = omx_sum({moment.tv_sec, moment.tv_nsec}, moment_of(ours));
    if (m.seconds < 0) m = {};
    return timespec{m.seconds, m.nanoseconds};
}

// What a call that only reads a clock answers; nullopt: another call, or another clock.
std::optional<int64_t> Worker::told_time(Thread& t, uint32_t nr, const CallArgs& args) {
    auto& memory = t.process->memory;
    memory.through(t.tid);
    switch (nr) {
        case SYS_clock_gettime: {
            auto now = clocks_.read(static_cast<clockid_t>(args[0]));
            return now ? std::optional(write_to(memory, args[1], *now)) : std::nullopt;
        }
        case SYS_time: {
            auto now = clocks_.read(CLOCK_REALTIME_COARSE)->tv_sec;
            if (args[0] && write_to(memory, args[0], now) < 0) return -EFAULT;
            return now;
        }
        case SYS_gettimeofday: {
            timeval unused;
            struct timezone zone{};
            auto now = *clocks_.read(CLOCK_REALTIME);
            gettimeofday(&unused, &zone);
            if (args[0] && write_to(memory, args[0], timeval{now.tv_sec, now.tv_nsec / 1000}) < 0) return -EFAULT;
            return args[1] ? write_to(memory, args[1], zone) : 0;
        }
        default: return std::nullopt;
    }
}

}  // namespace omx
