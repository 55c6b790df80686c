// A clock shows the same whether it is read by the vDSO or by a system call, and all of them belong together.
#include "guest.h"

static long long ns(struct timespec t) { return t.tv_sec * 1000000000ll + t.tv_nsec; }

static long long by_vdso(clockid_t clock) {
    struct timespec t = {0, 0};
    clock_gettime(clock, &t);
    return ns(t);
}

static long long by_call(clockid_t clock) {
    struct timespec t = {0, 0};
    syscall(SYS_clock_gettime, clock, &t);
    return ns(t);
}

// Read in turns, it never goes back, and the two ways are never far from each other.
static int agrees(clockid_t clock) {
    int near = 0;
    for (int i = 0; i < 200; ++i) {
        long long a = by_vdso(clock), b = by_call(clock), c = by_vdso(clock), d = by_call(clock);
        if (a > b || b > c || c > d) return 0;
        near += d - a < 20000000;
    }
    return near > 0;
}

int main(void) {
    IS(agrees(CLOCK_REALTIME));
    IS(agrees(CLOCK_MONOTONIC));
    IS(agrees(CLOCK_BOOTTIME));
    IS(agrees(CLOCK_MONOTONIC_RAW));
    IS(agrees(CLOCK_REALTIME_COARSE));
    IS(agrees(CLOCK_MONOTONIC_COARSE));
    IS(agrees(CLOCK_TAI));
    struct timeval tv, tv2, tv3;
    gettimeofday(&tv, NULL);
    syscall(SYS_gettimeofday, &tv2, NULL);
    gettimeofday(&tv3, NULL);
    IS(!timercmp(&tv, &tv2, >) && !timercmp(&tv2, &tv3, >));
    long first = time(NULL), second = syscall(SYS_time, NULL), third = time(NULL);
    IS(first <= second && second <= third && third - first <= 1);
    IS(third <= by_vdso(CLOCK_REALTIME) / 1000000000);
    // A coarse clock is behind the fine one by a tick, and never ahead.
    long long coarse = by_vdso(CLOCK_REALTIME_COARSE), fine = by_vdso(CLOCK_REALTIME);
    IS(coarse <= fine && fine - coarse < 2000000000);
    IS(by_vdso(CLOCK_BOOTTIME) >= by_vdso(CLOCK_MONOTONIC) - 1000000);
    IS((by_vdso(CLOCK_TAI) - by_vdso(CLOCK_REALTIME) + 500000000) / 1000000000 % 3600 <= 60);
    TRY(syscall(SYS_clock_gettime, CLOCK_REALTIME, 8));
    TRY(syscall(SYS_gettimeofday, 8, NULL));
    TRY(syscall(SYS_time, 8));
    TRY(syscall(SYS_clock_gettime, 12, &tv));
    return 0;
}
