// CPU time is told as it was used, wherever that was: by clocks, getrusage, times and clock(), of the process, a thread,
// and of children that were waited for; and it is the same time, whichever way it is asked for.
#include "guest.h"
#include <sys/resource.h>
#include <sys/times.h>

static double seconds(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t) == -1) return -1;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
static void burn(double s) {
    double until = seconds(CLOCK_THREAD_CPUTIME_ID) + s;
    while (seconds(CLOCK_THREAD_CPUTIME_ID) < until)
        for (volatile int i = 0; i < 100000; ++i) {}
}
static double used(int who) {
    struct rusage r;
    getrusage(who, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}
static void *burn_more(void *done) {
    burn(0.1);
    IS(seconds(CLOCK_THREAD_CPUTIME_ID) < 0.3);              // its own alone
    IS(used(RUSAGE_THREAD) >= 0.09 && used(RUSAGE_THREAD) < 0.3);
    return done;
}
static int near(double a, double b) { return a - b < 0.1 && b - a < 0.1; }

int main(void) {
    burn(0.2);
    double process = seconds(CLOCK_PROCESS_CPUTIME_ID);
    IS(process >= 0.2 && process < 1);
    IS(near(used(RUSAGE_SELF), process));
    IS(near((double)clock() / CLOCKS_PER_SEC, process));
    struct tms t;
    times(&t);
    IS(near((double)(t.tms_utime + t.tms_stime) / (double)sysconf(_SC_CLK_TCK), process));
    clockid_t own;
    TRY(clock_getcpuclockid(getpid(), &own));
    IS(near(seconds(own), process));
    TRY(clock_getcpuclockid(4194305, &own));                 // nobody's

    pthread_t thread;
    pthread_create(&thread, NULL, burn_more, NULL);
    pthread_join(thread, NULL);
    IS(seconds(CLOCK_PROCESS_CPUTIME_ID) >= process + 0.1);

    double last = 0, now;
    int backwards = 0;
    for (int i = 0; i < 300; ++i, last = now) {
        if (i % 10 == 0) close(open("/dev/null", O_RDONLY));
        now = seconds(CLOCK_PROCESS_CPUTIME_ID);
        backwards += now < last;
    }
    SAY("backwards %d\n", backwards);

    IS(used(RUSAGE_CHILDREN) < 0.01);
    pid_t child = fork();
    if (child == 0) {
        IS(seconds(CLOCK_PROCESS_CPUTIME_ID) < 0.1);         // it begins anew
        pid_t grandchild = fork();
        if (grandchild == 0) {
            burn(0.2);
            _exit(0);
        }
        waitpid(grandchild, NULL, 0);
        burn(0.1);
        _exit(0);
    }
    struct rusage of_child;
    int status;
    IS(wait4(child, &status, 0, &of_child) == child);
    double of_both = (double)(of_child.ru_utime.tv_sec + of_child.ru_stime.tv_sec)
                     + (double)(of_child.ru_utime.tv_usec + of_child.ru_stime.tv_usec) / 1e6;
    IS(of_both >= 0.29 && of_both < 1);
    IS(near(used(RUSAGE_CHILDREN), of_both));
    times(&t);
    IS(near((double)(t.tms_cutime + t.tms_cstime) / (double)sysconf(_SC_CLK_TCK), of_both));
    return 0;
}
