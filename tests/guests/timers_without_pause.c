// Timers whose next signal is due before anybody can have handled the last: handlers that make calls go on, calls
// between them succeed, and the program can stop its timer and goes on as if nothing had been.
#include "guest.h"

static timer_t timer;
static volatile sig_atomic_t hits, left;

static void handler(int number) {
    (void)number;
    hits++;
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "x", 1) != 1 || close(fd) != 0) left = -1;
    if (hits >= 300 && !left) {
        struct itimerspec never = {0};
        timer_settime(timer, 0, &never, NULL);
        left = 1;
    }
}

static void run(int signal) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal};
    struct itimerspec soon = {.it_interval = {0, 20000}, .it_value = {0, 20000}};
    sigset_t mask;
    hits = left = 0;
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_settime(timer, 0, &soon, NULL);
    while (!left) {
        if (getppid() == 0) SAY("no parent\n");
    }
    timer_delete(timer);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    SAY("left: %d, blocked: %d\n", (int)left, sigismember(&mask, signal));
}

int main(void) {
    signal(SIGUSR1, handler);
    signal(SIGRTMIN + 1, handler);
    run(SIGUSR1);
    run(SIGRTMIN + 1);
    pid_t child = fork();
    if (child == 0) {
        run(SIGRTMIN + 1);
        execlp("grep", "grep", "SigBlk", "/proc/self/status", NULL);
    }
    guest_wait_for("child", child);
    return 0;
}
