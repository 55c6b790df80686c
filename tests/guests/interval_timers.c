// setitimer's timers of CPU time: a blocked signal is pending, can be waited for and read; one that is handled finds the
// threads that run; a program that is executed has its caller's timer.
#include "guest.h"
#include <sys/signalfd.h>

static __thread volatile int mine;
static volatile int enough;
static void handler(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    if (info->si_code == SI_KERNEL) ++mine;
}
static void burn_until_pending(int signal) {
    sigset_t pending;
    do {
        for (volatile int i = 0; i < 1000000; ++i) {}
        sigpending(&pending);
    } while (!sigismember(&pending, signal));
}
static void set(int which, long interval_us, long value_us) {
    struct itimerval when = {{0, interval_us}, {0, value_us}}, was;
    SAY("setitimer: %d\n", setitimer(which, &when, &was));
    SAY("interval was %ld\n", was.it_interval.tv_usec);
}
static void *burn_until_hit(void *unused) {
    while (mine < 3) {}
    __atomic_add_fetch(&enough, 1, __ATOMIC_RELAXED);
    while (enough < 3) {}                                    // all go on until all have been found
    return unused;
}

int main(int count, char **words) {
    sigset_t both;
    siginfo_t info;
    sigemptyset(&both), sigaddset(&both, SIGPROF), sigaddset(&both, SIGVTALRM);
    sigprocmask(SIG_BLOCK, &both, NULL);
    if (count > 1) {
        SAY("executed\n");
        burn_until_pending(SIGVTALRM);
        set(ITIMER_VIRTUAL, 0, 0);
        return 0;
    }
    set(ITIMER_PROF, 0, 20000);
    burn_until_pending(SIGPROF);
    IS(sigwaitinfo(&both, &info) == SIGPROF && info.si_code == SI_KERNEL);
    struct itimerval left;
    getitimer(ITIMER_PROF, &left);
    IS(left.it_value.tv_sec == 0 && left.it_value.tv_usec == 0);

    int fd = signalfd(-1, &both, SFD_NONBLOCK);
    struct signalfd_siginfo read_info;
    TRY(read(fd, &read_info, sizeof read_info));
    set(ITIMER_VIRTUAL, 10000, 10000);
    burn_until_pending(SIGVTALRM);
    TRY(read(fd, &read_info, sizeof read_info));
    IS(read_info.ssi_signo == SIGVTALRM);
    set(ITIMER_VIRTUAL, 0, 0);
    sigtimedwait(&both, NULL, &(struct timespec){0});         // should it have run out once more
    TRY(setitimer(ITIMER_PROF, &(struct itimerval){{0, 0}, {0, 1000000}}, NULL));
    TRY(setitimer(ITIMER_PROF, (void *)8, NULL));
    TRY(getitimer(ITIMER_PROF, NULL));

    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGPROF, &action, NULL);
    sigprocmask(SIG_UNBLOCK, &both, NULL);
    pthread_t threads[2];
    set(ITIMER_PROF, 5000, 5000);
    for (int i = 0; i < 2; ++i) pthread_create(&threads[i], NULL, burn_until_hit, NULL);
    burn_until_hit(NULL);
    for (int i = 0; i < 2; ++i) pthread_join(threads[i], NULL);
    set(ITIMER_PROF, 0, 0);
    pid_t child = fork();
    if (child == 0) {
        set(ITIMER_VIRTUAL, 0, 30000);
        execl(words[0], words[0], "executed", NULL);
    }
    guest_wait_for("program", child);
    signal(SIGPROF, SIG_DFL);
    child = fork();
    if (child == 0) {
        set(ITIMER_PROF, 0, 10000);
        for (volatile long i = 0;; ++i) {}
    }
    guest_wait_for("who doesn't handle it", child);
    return 0;
}
