/* The page through which a worker tells its guests how far home's clocks are ahead of their CLOCK_MONOTONIC. All guests
 * of a job map it, read only; vdso/vdso.c reads it, remote/guest_clocks.cc writes it. C11 and C++.
 *
 * CLOCK_MONOTONIC and CLOCK_BOOTTIME are home's by a time namespace, for the kernel too. CLOCK_REALTIME is in none: but
 * on one machine it is CLOCK_MONOTONIC plus a number that changes only when somebody sets the clock, and that number is
 * home's. The node's own CLOCK_REALTIME is never asked. */
#ifndef OMX_CLOCK_PAGE_H
#define OMX_CLOCK_PAGE_H
#include <stdint.h>

enum omx_told_clock { OMX_REALTIME, OMX_REALTIME_COARSE, OMX_TAI, OMX_RAW, OMX_TOLD_CLOCKS };

#define OMX_SECOND_NS 1000000000ll

struct omx_moment {
    int64_t seconds, nanoseconds; /* 0 <= nanoseconds < OMX_SECOND_NS */
};

struct omx_clock_page {
    volatile uint32_t sequence; /* odd: being written */
    volatile struct {
        struct omx_moment ahead; /* of CLOCK_MONOTONIC (the coarse one: of CLOCK_MONOTONIC_COARSE) */
        struct omx_moment least; /* what has been seen: put back, a clock stands still until it is there again */
    } clock[OMX_TOLD_CLOCKS];
};

/* Time-outs of calls that the worker has rewritten (remote/timed_calls.cc): behind the clocks, in the same pages. */
#define OMX_CLOCK_BYTES 16384
#define OMX_MOMENTS_AT 1024
#define OMX_MOMENTS ((OMX_CLOCK_BYTES - OMX_MOMENTS_AT) / 16)

static inline int omx_is_before(struct omx_moment a, struct omx_moment b) {
    return a.seconds < b.seconds || (a.seconds == b.seconds && a.nanoseconds < b.nanoseconds);
}

static inline struct omx_moment omx_sum(struct omx_moment a, struct omx_moment b) {
    struct omx_moment sum = {a.seconds + b.seconds, a.nanoseconds + b.nanoseconds};
    if (sum.nanoseconds >= OMX_SECOND_NS) {
        sum.nanoseconds -= OMX_SECOND_NS;
        sum.seconds++;
    }
    return sum;
}

#endif
