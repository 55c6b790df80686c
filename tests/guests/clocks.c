// Clocks go forward, agree with each other, and no file of ours comes from the future.
#include "guest.h"
#include <sys/times.h>

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(void) {
    double last = seconds(CLOCK_MONOTONIC);
    int backwards = 0;
    for (int i = 0; i < 100000; ++i) {
        double now = seconds(CLOCK_MONOTONIC);
        backwards += now < last;
        last = now;
    }
    SAY("backwards %d\n", backwards);
    double before = seconds(CLOCK_REALTIME);
    close(open("stamp", O_CREAT | O_WRONLY, 0600));
    struct stat s;
    stat("stamp", &s);
    double stamp = s.st_mtim.tv_sec + s.st_mtim.tv_nsec / 1e9, after = seconds(CLOCK_REALTIME);
    IS(stamp <= after);
    IS(stamp > before - 0.02);                        // stamps are taken at the tick
    double start = seconds(CLOCK_MONOTONIC);
    guest_sleep_ms(30);
    double slept = seconds(CLOCK_MONOTONIC) - start;
    IS(slept >= 0.03 && slept < 2);
    struct timeval tv;
    gettimeofday(&tv, NULL);
    IS(tv.tv_sec - time(NULL) <= 1 && time(NULL) - tv.tv_sec <= 1);
    for (volatile long i = 0; i < 60000000; ++i) {}
    IS(seconds(CLOCK_PROCESS_CPUTIME_ID) > 0.01);
    IS(seconds(CLOCK_THREAD_CPUTIME_ID) > 0.01);
    IS(clock() > 10000);
    struct tms t;
    IS(times(&t) != (clock_t)-1);
    struct timespec resolution;
    TRY(clock_getres(CLOCK_MONOTONIC, &resolution));
    SAY("%ld\n", resolution.tv_nsec);
    TRY(clock_gettime(99, &resolution));
    return 0;
}
