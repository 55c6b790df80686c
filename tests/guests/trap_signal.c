// SIGTRAP is a signal like others: blocked it stays pending, ignored it does nothing, and its handler stays.
#include "guest.h"

static volatile sig_atomic_t hits;
static void handler(int number) { (void)number, ++hits; }

static void be_busy(void) {                          // with calls that take a while
    int ends[2];
    pipe(ends);
    for (int i = 0; i < 3; ++i) {
        struct pollfd p = {.fd = ends[0], .events = POLLIN};
        poll(&p, 1, 20);
    }
    close(ends[0]), close(ends[1]);
}

int main(void) {
    sigset_t trap, seen;
    sigemptyset(&trap), sigaddset(&trap, SIGTRAP);
    signal(SIGTRAP, handler);
    sigprocmask(SIG_BLOCK, &trap, NULL);
    be_busy();
    TRY(kill(getpid(), SIGTRAP));
    SAY("hits while blocked %d\n", (int)hits);
    sigpending(&seen);
    IS(sigismember(&seen, SIGTRAP));
    sigprocmask(SIG_BLOCK, NULL, &seen);
    IS(sigismember(&seen, SIGTRAP));
    pid_t child = fork();
    if (child == 0) {
        be_busy();
        kill(getpid(), SIGTRAP);
        SAY("child's hits while blocked %d\n", (int)hits);
        sigprocmask(SIG_UNBLOCK, &trap, NULL);
        SAY("child's hits %d\n", (int)hits);
        _exit(0);
    }
    guest_wait_for("child", child);
    sigprocmask(SIG_UNBLOCK, &trap, NULL);
    SAY("hits %d\n", (int)hits);
    be_busy();
    raise(SIGTRAP);
    SAY("hits %d\n", (int)hits);
    signal(SIGTRAP, SIG_IGN);
    be_busy();
    TRY(raise(SIGTRAP));
    SAY("hits %d\n", (int)hits);
    signal(SIGTRAP, SIG_DFL);
    child = fork();
    if (child == 0) raise(SIGTRAP);
    guest_wait_for("child that dies of it", child);
    return 0;
}
