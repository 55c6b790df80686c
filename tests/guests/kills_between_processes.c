// Signals between processes of the job: a hundred back and forth, none lost, and death while blocked or computing.
#include "guest.h"

static volatile sig_atomic_t hits;
static void handler(int number) { (void)number, ++hits; }

static void die_of(const char *what, int number, int computing) {
    pid_t child = fork();
    if (child == 0) {
        for (volatile long i = 0; computing; ++i) {}
        for (;;) pause();
    }
    guest_sleep_ms(20);
    kill(child, number);
    guest_wait_for(what, child);
}

int main(void) {
    sigset_t block, old;
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    signal(SIGUSR1, handler);
    sigprocmask(SIG_BLOCK, &block, &old);
    pid_t parent = getpid(), child = fork();
    for (int i = 0; i < 100; ++i) {
        if (child == 0) {
            while (hits <= i) sigsuspend(&old);
            kill(parent, SIGUSR1);
        } else {
            kill(child, SIGUSR1);
            while (hits <= i) sigsuspend(&old);
        }
    }
    if (child == 0) _exit(hits);
    guest_wait_for("partner", child);
    SAY("%d hits\n", (int)hits);
    die_of("blocked, by TERM", SIGTERM, 0);
    die_of("blocked, by KILL", SIGKILL, 0);
    die_of("computing, by INT", SIGINT, 1);
    die_of("computing, by KILL", SIGKILL, 1);
    TRY(kill(1 << 22, SIGTERM));
    TRY(kill(getpid(), 99));
    return 0;
}
