// Blocking, pending, sigsuspend, sigwait, sigtimedwait, ppoll with a mask, real-time queues in order.
#include "guest.h"

static volatile sig_atomic_t got[65];
static int order[8], count;
static void handler(int number) { ++got[number]; }
static void queued(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    order[count++] = info->si_value.sival_int;
}

int main(void) {
    sigset_t blocked, empty, pending;
    sigemptyset(&empty);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGUSR2);
    signal(SIGUSR1, handler);
    signal(SIGUSR2, handler);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    raise(SIGUSR1);
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR2);
    sigpending(&pending);
    SAY("pending %d %d\n", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGUSR2));
    SAY("got %d %d\n", got[SIGUSR1], got[SIGUSR2]);
    sigprocmask(SIG_UNBLOCK, &blocked, NULL);
    SAY("got %d %d\n", got[SIGUSR1], got[SIGUSR2]);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    raise(SIGUSR1);
    TRY(sigsuspend(&empty));
    SAY("got %d\n", got[SIGUSR1]);
    raise(SIGUSR2);
    int number = 0;
    SAY("sigwait %d", sigwait(&blocked, &number));
    SAY(" gave SIG%s\n", sigabbrev_np(number));
    struct timespec shortly = {0, 20000000};
    siginfo_t info;
    TRY(sigtimedwait(&blocked, &info, &shortly));
    raise(SIGUSR1);
    TRY(ppoll(NULL, 0, NULL, &empty));
    SAY("got %d\n", got[SIGUSR1]);
    sigprocmask(SIG_SETMASK, NULL, &pending);
    SAY("still blocked %d\n", sigismember(&pending, SIGUSR1));
    struct sigaction action = {.sa_sigaction = queued, .sa_flags = SA_SIGINFO};
    sigaction(SIGRTMIN + 3, &action, NULL);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (int i = 0; i < 5; ++i) sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = i * i});
    sigprocmask(SIG_SETMASK, &empty, NULL);
    for (int i = 0; i < count; ++i) SAY("%d ", order[i]);
    SAY("\n");
    return 0;
}
