// Handlers: siginfo of kill, sigqueue, tgkill, child and fault; context; flags; restored masks.
#include "guest.h"

static siginfo_t last;
static int depth, deepest;

static void handler(int number, siginfo_t *info, void *context) {
    (void)context;
    last = *info;
    last.si_signo = number;
    if (++depth > deepest) deepest = depth;
    if (number == SIGUSR1 && depth == 1) raise(SIGUSR2);         // nested
    --depth;
}

static void show(const char *what) {
    int mine = last.si_code <= 0 && last.si_pid == getpid() && last.si_uid == getuid();
    SAY("%s: SIG%s code %d mine %d\n", what, sigabbrev_np(last.si_signo), last.si_code, mine);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO}, old;
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    sigaction(SIGCHLD, &action, NULL);
    kill(getpid(), SIGUSR2);
    show("kill");
    union sigval value = {.sival_int = 4711};
    sigqueue(getpid(), SIGUSR2, value);
    show("sigqueue");
    SAY("value %d\n", last.si_value.sival_int);
    syscall(SYS_tgkill, getpid(), gettid(), SIGUSR2);
    show("tgkill");
    raise(SIGUSR1);
    show("nested");
    SAY("deepest %d\n", deepest);
    pid_t child = fork();
    if (child == 0) _exit(3);
    guest_wait_for("child", child);
    SAY("SIGCHLD: code %d status %d the child %d\n", last.si_code, last.si_status, last.si_pid == child);
    action.sa_flags |= SA_RESETHAND;
    sigaction(SIGUSR2, &action, &old);
    SAY("old flags %x\n", (unsigned)(old.sa_flags & ~0x04000000));
    raise(SIGUSR2);
    sigaction(SIGUSR2, NULL, &old);
    IS(old.sa_handler == SIG_DFL);
    TRY(sigaction(SIGKILL, &action, NULL));
    TRY(sigaction(65, &action, NULL));
    IS(signal(SIGUSR1, SIG_IGN) == (void (*)(int))handler);
    raise(SIGUSR1);
    SAY("ignored\n");
    return 0;
}
