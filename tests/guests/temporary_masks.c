// Calls that wait under a mask of their own, interrupted: by a signal that only this mask lets through, and by one that
// is never blocked. Each ends once, with EINTR behind its handler, and the thread's own mask is back.
#include "guest.h"
#include <sys/epoll.h>
#include <sys/select.h>

static volatile sig_atomic_t hits;

static void handler(int number) { (void)number, hits++; }

static void wait_interrupted(int call) {
    struct itimerval soon = {.it_value = {0, 50000}};
    struct timespec long_time = {20, 0};
    struct epoll_event event;
    sigset_t none, own;
    sigemptyset(&none);
    int epoll = epoll_create1(0);
    hits = 0;
    setitimer(ITIMER_REAL, &soon, NULL);
    if (call == 0) TRY(pselect(0, NULL, NULL, NULL, &long_time, &none));
    if (call == 1) TRY(ppoll(NULL, 0, &long_time, &none));
    if (call == 2) TRY(epoll_pwait(epoll, &event, 1, 20000, &none));
    if (call == 3) TRY(sigsuspend(&none));
    sigprocmask(SIG_SETMASK, NULL, &own);
    SAY("handled %d, now blocked %d\n", (int)hits, sigismember(&own, SIGALRM));
    close(epoll);
}

int main(void) {
    sigset_t alarm_only;
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, NULL);
    for (int call = 0; call < 4; call++) wait_interrupted(call);
    sigprocmask(SIG_BLOCK, &alarm_only, NULL);
    for (int call = 0; call < 4; call++) wait_interrupted(call);
    return 0;
}
