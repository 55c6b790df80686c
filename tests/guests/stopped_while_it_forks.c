// Job control around a fork: when a family is stopped while its eldest makes children, none of them goes on counting, not
// even one that is just coming to be.
#include "guest.h"
#include <sys/prctl.h>

enum { kRounds = 40, kChildren = 6 };

static void count(volatile long *counter) {
    for (;;) ++*counter;
}

static void make_children(volatile long *counters) {
    setpgid(0, 0);
    for (int i = 0; i < kChildren; ++i)
        if (fork() == 0) count(counters + i);
    for (;;) pause();
}

static long sum(volatile long *counters) {
    long all = 0;
    for (int i = 0; i < kChildren; ++i) all += counters[i];
    return all;
}

// A stop takes its time to reach who is on another CPU. Who is never stopped never stands still.
static int stands_still(volatile long *counters) {
    for (int i = 0; i < 200; ++i) {
        long before = sum(counters);
        guest_sleep_ms(10);
        if (sum(counters) == before) return 1;
    }
    return 0;
}

int main(void) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    volatile long *counters = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int stopped = 0, still = 0, status;
    for (int i = 0; i < kRounds; ++i) {
        pid_t eldest = fork();
        if (eldest == 0) make_children(counters);
        setpgid(eldest, eldest);
        struct timespec moment = {0, i * 50000};
        nanosleep(&moment, NULL);
        kill(-eldest, SIGSTOP);
        stopped += waitpid(eldest, &status, WUNTRACED) == eldest && WIFSTOPPED(status);
        still += stands_still(counters);
        kill(-eldest, SIGKILL);
        while (wait(NULL) > 0) {}
    }
    SAY("%d stopped, %d stood still\n", stopped, still);
    return 0;
}
