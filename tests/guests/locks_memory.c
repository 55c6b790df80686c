// Locked memory: within its limit, beyond it, by mlock, mlock2, mlockall and MAP_LOCKED. Root may lock what it wants.
#include "guest.h"
#include <sys/resource.h>

enum { kPage = 4096, kMiB = 1 << 20 };

static void may_lock(char *p, size_t limit) {
    struct rlimit l = {limit, limit};
    TRY(setrlimit(RLIMIT_MEMLOCK, &l));
    TRY(mlock(p, 64 << 10));
    TRY(mlock(p, 256 << 10));
    TRY(munlock(p, 256 << 10));
    TRY(mlock2(p, 32 << 10, MLOCK_ONFAULT));
    TRY(mlock2(p, 32 << 10, 8));
    TRY(madvise(p, kPage, MADV_DONTNEED));
    char *locked = mmap(NULL, 256 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
    SAY("MAP_LOCKED: %s\n", locked == MAP_FAILED ? strerrorname_np(errno) : "works");
    if (locked != MAP_FAILED) munmap(locked, 256 << 10);
    TRY(munlock(p, 32 << 10));
    TRY(mlockall(MCL_CURRENT));
    TRY(mlockall(0));
    TRY(munlockall());
    if (mlockall(MCL_FUTURE) == 0) {
        locked = mmap(NULL, 4 * kMiB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        SAY("more than the limit: %s\n", locked == MAP_FAILED ? strerrorname_np(errno) : "works");
        TRY(munlockall());
    } else {
        SAY("MCL_FUTURE: %s\n", strerrorname_np(errno));
    }
}

int main(void) {
    char *p = mmap(NULL, 4 * kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct rlimit l;
    getrlimit(RLIMIT_MEMLOCK, &l);
    SAY("limit %ld %ld\n", (long)l.rlim_cur, (long)l.rlim_max);
    TRY(mlock(p, 4 * kMiB));
    TRY(munlock(p, 4 * kMiB));
    may_lock(p, 128 << 10);
    may_lock(p, 0);
    TRY(mlock(p + 8 * kMiB, 1ul << 40));
    TRY(mlock((char *)16 - 1, ~0ul));
    if (getuid() == 0) {                                   // without privilege the limit counts, root's too
        setuid(65534);
        TRY(mlock(p, kPage));
    }
    return 0;
}
