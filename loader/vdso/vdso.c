/* Our own vDSO. A guest found home's kernel's functions at an address it keeps for life; the node's kernel has others,
 * elsewhere. So this object lies where home's lay, offers the same names, and forwards to the node's vDSO, which the
 * runner moved out of the way. CLOCK_REALTIME belongs to no namespace: home's clock is the node's plus an offset
 * (pitfall C2), added here and nowhere else.
 *
 * It is placed by copying, so it has no relocations, and it is read and execute only: the runner's plan fills in the
 * clock below before the copy. */
#include <stddef.h>
#include <stdint.h>
#include <asm/unistd.h>
#include <linux/time.h> /* the kernel's structures: a strict C11 libc header hides them */
#include "../stub/calls.h"
#include "../stub/plan.h"

#define EXPORT __attribute__((visibility("default"), used))

/* Found by the plan maker through the symbol table. volatile: the compiler must not believe in the zeroes it sees. */
EXPORT const volatile struct omx_clock __omx_clock __attribute__((section(".omx_clock"))) = {0};

typedef int clock_fn(int, struct timespec*);
typedef int gettimeofday_fn(struct timeval*, struct timezone*);
typedef int getcpu_fn(unsigned*, unsigned*, void*);

enum { second_ns = 1000000000 };

static inline int follows_home(int id) {
    return id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE || id == CLOCK_TAI;
}

/* Division by a constant compiles to a multiplication: no library function is needed. */
static inline void add_ns(struct timespec* t, int64_t ns) {
    int64_t sum = t->tv_nsec + ns % second_ns, carry = 0;
    if (sum >= second_ns) carry = 1;
    if (sum < 0) carry = -1;
    t->tv_sec += ns / second_ns + carry;
    t->tv_nsec = sum - carry * second_ns;
}

static inline int node_gettime(int id, struct timespec* t) {
    clock_fn* node = (clock_fn*)__omx_clock.clock_gettime;
    return node ? node(id, t) : (int)omx_call2(__NR_clock_gettime, (uint64_t)id, (uint64_t)t);
}

EXPORT int __vdso_clock_gettime(int id, struct timespec* t) {
    int result = node_gettime(id, t);
    int64_t offset = __omx_clock.realtime_offset_ns;
    if (result == 0 && offset && follows_home(id)) add_ns(t, offset);
    return result;
}

EXPORT int __vdso_gettimeofday(struct timeval* t, struct timezone* zone) {
    gettimeofday_fn* node = (gettimeofday_fn*)__omx_clock.gettimeofday;
    int result = node ? node(t, zone) : (int)omx_call2(__NR_gettimeofday, (uint64_t)t, (uint64_t)zone);
    int64_t offset = __omx_clock.realtime_offset_ns;
    if (result || !offset || !t) return result;
    struct timespec exact;
    node_gettime(CLOCK_REALTIME, &exact); /* microseconds alone could make the sum go back by a rounding */
    add_ns(&exact, offset);
    t->tv_sec = exact.tv_sec;
    t->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

EXPORT long __vdso_time(long* where) {
    struct timespec now = {0, 0};
    node_gettime(CLOCK_REALTIME_COARSE, &now); /* what time(2) reads: never ahead of the fine clock */
    int64_t offset = __omx_clock.realtime_offset_ns;
    if (offset) add_ns(&now, offset);
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
