// Calls about clocks that the guests' time namespace doesn't keep: bare system calls that read one (our vDSO reads it
// without a call).
#include "remote/worker.h"
#include <sys/syscall.h>
#include <sys/time.h>

namespace omx {
namespace {

// 0 or an errno, as the kernel answers.
template <class T> int64_t write_to(GuestMemory& memory, uint64_t at, const T& value) {
    return memory.write(GuestAddr(at), std::as_bytes(std::span(&value, 1))) == sizeof value ? 0 : -EFAULT;
}

}  // namespace

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
