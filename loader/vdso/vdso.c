/* Our own vDSO. A guest found home's kernel's functions at an address it keeps for life; the node's kernel has others,
 * elsewhere. So this object lies where home's lay, offers the same names, and forwards to the node's vDSO, which the
 * runner moved out of the way. The clocks that no time namespace keeps are told by the worker (stub/clock_page.h): they
 * are added here and, for bare system calls, in the worker.
 *
 * It is placed by copying, so it has no relocations, and it is read and execute only: the runner's plan fills in the
 * clock below before the copy. */
#include <stddef.h>
#include <stdint.h>
#include <asm/unistd.h>
#include <linux/time.h> /* the kernel's structures: a strict C11 libc header hides them */
#include "../stub/calls.h"
#include "../stub/clock_page.h"
#include "../stub/plan.h"

#define EXPORT __attribute__((visibility("default"), used))

/* Found by the plan maker through the symbol table. volatile: the compiler must not believe in the zeroes it sees. */
EXPORT const volatile struct omx_clock __omx_clock __attribute__((section(".omx_clock"))) = {0};

typedef int clock_fn(int, struct timespec*);
typedef int gettimeofday_fn(struct timeval*, struct timezone*);
typedef int getcpu_fn(unsigned*, unsigned*, void*);

static inline int node_gettime(int id, struct timespec* t) {
    clock_fn* node = (clock_fn*)__omx_clock.clock_gettime;
    return node ? node(id, t) : (int)omx_call2(__NR_clock_gettime, (uint64_t)id, (uint64_t)t);
}

/* The page is written rarely and in a few instructions. A value must not be taken from two states of it, nor the clock
 * be read in one state and counted in another: then a clock that has been put back could be seen going back. */
static inline int told_gettime(const struct omx_clock_page* page, enum omx_told_clock which, struct timespec* t) {
    for (;;) {
        uint32_t sequence = page->sequence;
        int result = node_gettime(which == OMX_REALTIME_COARSE ? CLOCK_MONOTONIC_COARSE : CLOCK_MONOTONIC, t);
        if (result) return result;
        struct omx_moment now = {t->tv_sec, t->tv_nsec};
        struct omx_moment ahead = {page->clock[which].ahead.seconds, page->clock[which].ahead.nanoseconds};
        struct omx_moment least = {page->clock[which].least.seconds, page->clock[which].least.nanoseconds};
        now = omx_sum(now, ahead);
        if (omx_is_before(now, least)) now = least;
        t->tv_sec = now.seconds;
        t->tv_nsec = now.nanoseconds;
        if (!(sequence & 1) && page->sequence == sequence) return 0;
        __builtin_ia32_pause();
    }
}

static inline const struct omx_clock_page* told(void) { return (const struct omx_clock_page*)__omx_clock.page; }

#define CLOCK_BIT(id) (1u << (id))
#define TOLD_CLOCKS \
    (CLOCK_BIT(CLOCK_REALTIME) | CLOCK_BIT(CLOCK_REALTIME_COARSE) | CLOCK_BIT(CLOCK_TAI) | \
     CLOCK_BIT(CLOCK_MONOTONIC_RAW))
#define READ_WITHOUT_A_CALL \
    (TOLD_CLOCKS | CLOCK_BIT(CLOCK_MONOTONIC) | CLOCK_BIT(CLOCK_MONOTONIC_COARSE) | CLOCK_BIT(CLOCK_BOOTTIME))

/* Other clocks end in a system call, which must be made here: who waits in it may have to come home, where the node's
 * vDSO isn't. */
EXPORT int __vdso_clock_gettime(int id, struct timespec* t) {
    const struct omx_clock_page* page = told();
    if ((unsigned)id > CLOCK_TAI || !(READ_WITHOUT_A_CALL & CLOCK_BIT(id)))
        return (int)omx_call2(__NR_clock_gettime, (uint64_t)id, (uint64_t)t);
    if (!page || !(TOLD_CLOCKS & CLOCK_BIT(id))) return node_gettime(id, t);
    if (id == CLOCK_REALTIME) return told_gettime(page, OMX_REALTIME, t);
    if (id == CLOCK_REALTIME_COARSE) return told_gettime(page, OMX_REALTIME_COARSE, t);
    return told_gettime(page, id == CLOCK_TAI ? OMX_TAI : OMX_RAW, t);
}

EXPORT int __vdso_gettimeofday(struct timeval* t, struct timezone* zone) {
    const struct omx_clock_page* page = told();
    gettimeofday_fn* node = (gettimeofday_fn*)__omx_clock.gettimeofday;
    if (!page && node) return node(t, zone);
    if (!page || zone || !t) return (int)omx_call2(__NR_gettimeofday, (uint64_t)t, (uint64_t)zone);
    struct timespec exact;
    int result = told_gettime(page, OMX_REALTIME, &exact);
    if (result) return result;
    t->tv_sec = exact.tv_sec;
    t->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

EXPORT long __vdso_time(long* where) {
    struct timespec now = {0, 0};
    const struct omx_clock_page* page = told();
    if (page) told_gettime(page, OMX_REALTIME_COARSE, &now); /* what time(2) reads: never ahead of the fine clock */
    else node_gettime(CLOCK_REALTIME_COARSE, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}

EXPORT int __vdso_clock_getres(int id, struct timespec* t) {
    clock_fn* node = (clock_fn*)__omx_clock.clock_getres;
    return node ? node(id, t) : (int)omx_call2(__NR_clock_getres, (uint64_t)id, (uint64_t)t);
}

EXPORT long __vdso_getcpu(unsigned* cpu, unsigned* numa_node, void* unused) {
    getcpu_fn* node = (getcpu_fn*)__omx_clock.getcpu;
    if (node) return node(cpu, numa_node, unused);
    return omx_call3(__NR_getcpu, (uint64_t)cpu, (uint64_t)numa_node, (uint64_t)unused);
}

#define WEAK_NAME(name) __attribute__((weak, alias("__vdso_" #name), visibility("default")))
int clock_gettime(int id, struct timespec* t) WEAK_NAME(clock_gettime);
int gettimeofday(struct timeval* t, void* zone) WEAK_NAME(gettimeofday);
long time(long* where) WEAK_NAME(time);
int clock_getres(int id, struct timespec* t) WEAK_NAME(clock_getres);
long getcpu(unsigned* cpu, unsigned* numa_node, void* unused) WEAK_NAME(getcpu);
