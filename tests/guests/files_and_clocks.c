// Files are stamped by home's clock. What has just been written is never from the future, nor from before the writing,
// but for the tick at which stamps are taken.
#include "guest.h"

enum { TICK_NS = 10000000, ROUNDS = 100 };
static long long ns(struct timespec t) { return t.tv_sec * 1000000000ll + t.tv_nsec; }
static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return ns(t);
}

int main(void) {
    int future = 0, past = 0;
    int fd = open("stamped", O_CREAT | O_RDWR, 0600);
    for (int i = 0; i < ROUNDS; ++i) {
        struct stat s;
        long long before = now();
        write(fd, "x", 1);
        fstat(fd, &s);
        long long after = now();
        future += ns(s.st_mtim) > after;
        past += ns(s.st_mtim) < before - TICK_NS;
    }
    SAY("from the future %d, from the past %d\n", future, past);
    // utimensat with UTIME_NOW, and with what the clock says: the two agree.
    struct timespec mine[2];
    struct stat by_home, by_me;
    TRY(futimens(fd, NULL));
    fstat(fd, &by_home);
    clock_gettime(CLOCK_REALTIME, &mine[0]);
    mine[1] = mine[0];
    TRY(futimens(fd, mine));
    fstat(fd, &by_me);
    IS(ns(by_me.st_mtim) >= ns(by_home.st_mtim) - TICK_NS);
    IS(ns(by_me.st_mtim) - ns(by_home.st_mtim) < 2000000000);
    return 0;
}
