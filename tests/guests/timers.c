// alarm, setitimer, timer_create by signal and by thread: they go off, once or again, and can be asked and stopped.
#include "guest.h"

static volatile sig_atomic_t hits;
static volatile sig_atomic_t value;
static void handler(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    ++hits;
    if (info->si_code == SI_TIMER) value = info->si_value.sival_int;
}
static void wait_for_hits(int wanted) {
    for (int i = 0; i < 1000 && hits < wanted; ++i) guest_sleep_ms(5);
    IS(hits >= wanted);
    hits = 0;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    TRY(alarm(100));
    TRY(alarm(1));
    wait_for_hits(1);
    struct itimerval each = {.it_interval = {0, 10000}, .it_value = {0, 10000}}, off = {0};
    TRY(setitimer(ITIMER_REAL, &each, NULL));
    wait_for_hits(3);
    TRY(setitimer(ITIMER_REAL, &off, &each));
    SAY("interval was %ld\n", each.it_interval.tv_usec);
    timer_t timer;
    struct sigevent how = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 99};
    TRY(timer_create(CLOCK_MONOTONIC, &how, &timer));
    struct itimerspec soon = {.it_value = {0, 10000000}}, left;
    TRY(timer_settime(timer, 0, &soon, NULL));
    wait_for_hits(1);
    SAY("value %d\n", (int)value);
    TRY(timer_gettime(timer, &left));
    SAY("left %ld\n", left.it_value.tv_nsec);
    IS(timer_getoverrun(timer) >= 0);
    TRY(timer_delete(timer));
    TRY(timer_delete((timer_t)12345));
    return 0;
}
