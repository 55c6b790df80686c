// Timers on CPU clocks go off when so much CPU time has been used, not before; once or again; by handler, by sigwait,
// for one thread; ITIMER_PROF and ITIMER_VIRTUAL too. Sleeping moves none of them.
#include "guest.h"

static volatile sig_atomic_t hits, value, code;
static void handler(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    ++hits;
    code = info->si_code;
    if (info->si_code == SI_TIMER) value = info->si_value.sival_int;
}
static double used(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
static void burn_until_hits(int wanted) {
    double start = used(CLOCK_THREAD_CPUTIME_ID);
    while (hits < wanted && used(CLOCK_THREAD_CPUTIME_ID) < start + 5)
        for (volatile int i = 0; i < 100000; ++i) {}
}
static timer_t make(clockid_t clock, int signal) {
    timer_t timer;
    struct sigevent how = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal, .sigev_value.sival_int = 7};
    TRY(timer_create(clock, &how, &timer));
    return timer;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    for (int s = 1; s < 32; ++s)
        if (s == SIGUSR1 || s == SIGPROF || s == SIGVTALRM) sigaction(s, &action, NULL);
    struct itimerspec soon = {.it_value = {0, 100000000}}, left, off = {0};

    clockid_t clocks[] = {CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
    for (int i = 0; i < 2; ++i) {
        timer_t timer = make(clocks[i], SIGUSR1);
        hits = 0;
        double start = used(clocks[i]);
        TRY(timer_settime(timer, 0, &soon, NULL));
        guest_sleep_ms(150);
        SAY("hits after sleeping %d\n", (int)hits);
        TRY(timer_gettime(timer, &left));
        IS(left.it_value.tv_sec == 0 && left.it_value.tv_nsec > 50000000);
        burn_until_hits(1);
        double took = used(clocks[i]) - start;
        IS(took >= 0.1 && took < 1);
        SAY("hits %d, value %d, from a timer: %d\n", (int)hits, (int)value, code == SI_TIMER);
        TRY(timer_gettime(timer, &left));
        SAY("left %ld\n", left.it_value.tv_nsec);
        struct itimerspec each = {{0, 20000000}, {0, 20000000}}, was;
        hits = 0;
        TRY(timer_settime(timer, 0, &each, NULL));
        burn_until_hits(4);
        IS(hits >= 4);
        TRY(timer_settime(timer, 0, &off, &was));
        SAY("interval was %ld\n", was.it_interval.tv_nsec);
        struct itimerspec then = {.it_value = {(time_t)(used(clocks[i]) + 0.1), 0}};
        then.it_value.tv_nsec = (long)((used(clocks[i]) + 0.1 - (double)then.it_value.tv_sec) * 1e9);
        hits = 0;
        TRY(timer_settime(timer, TIMER_ABSTIME, &then, NULL));
        burn_until_hits(1);
        SAY("hits %d\n", (int)hits);
        TRY(timer_getoverrun(timer));
        TRY(timer_settime(timer, 0, NULL, NULL));
        each.it_value.tv_nsec = 1000000000;
        TRY(timer_settime(timer, 0, &each, NULL));
        TRY(timer_delete(timer));
        TRY(timer_gettime(timer, &left));
    }

    sigset_t waited;
    sigemptyset(&waited), sigaddset(&waited, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &waited, NULL);
    timer_t timer = make(CLOCK_PROCESS_CPUTIME_ID, SIGRTMIN);
    soon.it_value.tv_nsec = 20000000;
    timer_settime(timer, 0, &soon, NULL);
    sigset_t pending;
    do {
        for (volatile int i = 0; i < 1000000; ++i) {}
        sigpending(&pending);
    } while (!sigismember(&pending, SIGRTMIN));
    siginfo_t info;
    IS(sigwaitinfo(&waited, &info) == SIGRTMIN);
    SAY("value %d, from a timer: %d\n", info.si_value.sival_int, info.si_code == SI_TIMER);

    for (int which = ITIMER_VIRTUAL; which <= ITIMER_PROF; ++which) {
        struct itimerval each = {{0, 20000}, {0, 20000}}, none = {0};
        hits = 0;
        TRY(setitimer(which, &each, NULL));
        burn_until_hits(3);
        IS(hits >= 3);
        TRY(setitimer(which, &none, &each));
        SAY("interval was %ld\n", each.it_interval.tv_usec);
    }
    return 0;
}
