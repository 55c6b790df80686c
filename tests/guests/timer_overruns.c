// A timer whose signals come faster than they are taken says how often it has run out besides, and so does the signal,
// whether a handler takes it or who waits for it.
#include "guest.h"

enum { interval_ns = 1000000 };
static const struct itimerspec often = {{0, interval_ns}, {0, interval_ns}}, never;
static timer_t timer;
static volatile int hits, most, differ;
static volatile long counted;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
static void count(const siginfo_t *info) {
    if (timer_getoverrun(timer) != info->si_overrun) differ++;
    if (info->si_overrun > most) most = info->si_overrun;
    counted += 1 + info->si_overrun;
    hits++;
}
static void handler(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    count(info);
    if (hits >= 5) timer_settime(timer, 0, &never, NULL);
    else for (double end = now() + 0.02; now() < end;) {}   // makes no call of which home would hear
}

static void run(int signal) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal};
    hits = most = differ = counted = 0;
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    TRY(timer_getoverrun(timer));
    double begin = now();
    timer_settime(timer, 0, &often, NULL);
    while (hits < 5) {}
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, NULL);
    SAY("handler: differ %d, many at once %d\n", differ, most > 5);
    IS(counted <= (now() - begin) / interval_ns * 1e9);
    timer_settime(timer, 0, &often, NULL);
    for (int i = most = 0; i < 3; ++i) {
        siginfo_t info;
        guest_sleep_ms(10);
        if (sigwaitinfo(&set, &info) == signal) count(&info);
    }
    SAY("waiting: differ %d, many at once %d\n", differ, most > 2);
    TRY(timer_settime(timer, 0, &never, NULL));
    TRY(timer_getoverrun(timer));
    TRY(timer_delete(timer));
    TRY(timer_getoverrun(timer));
    struct timespec at_once = {0};
    sigtimedwait(&set, NULL, &at_once);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGRTMIN + 1, &action, NULL);
    run(SIGUSR1);
    run(SIGRTMIN + 1);
    return 0;
}
