// Signals by the thousand into calls that are made by the ten thousand: between, before and in them. Every handler
// runs, no byte is lost or doubled, and an interrupted call ends or goes on as sigaction said.
#include "guest.h"
#include <setjmp.h>

static volatile sig_atomic_t hits, own_failures;
static int side[2], ends[2];
static sigjmp_buf out;

static void every_ms(int ms) {
    struct itimerval t = {.it_interval = {0, ms * 1000}, .it_value = {0, ms * 1000}};
    setitimer(ITIMER_REAL, &t, NULL);
}

// A handler makes the very same calls.
static void count(int number) {
    char c = (char)number, back = 0;
    int before = errno;
    if (write(side[1], &c, 1) != 1 || read(side[0], &back, 1) != 1 || back != c) own_failures++;
    hits++;
    errno = before;
}
static void write_late(int number) {
    (void)number;
    write(ends[1], "late", 4);
}
static void leave(int number) {
    (void)number;
    siglongjmp(out, 1);
}

static void on_alarm(void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(SIGALRM, &action, NULL);
}

static long storm(int at_least) {
    long failed = 0;
    on_alarm(count, SA_RESTART);
    every_ms(1);
    for (unsigned i = 0; hits < at_least; i++) {
        unsigned back = 0;
        if (write(ends[1], &i, sizeof i) != sizeof i) failed++;
        if (read(ends[0], &back, sizeof back) != sizeof back || back != i) failed++;
        if (lseek(ends[0], 0, SEEK_CUR) != -1 || errno != ESPIPE) failed++;
    }
    every_ms(0);
    return failed;
}

int main(void) {
    char text[8] = "";
    pipe(side);
    pipe(ends);
    SAY("storm: %ld failed\n", storm(300));
    SAY("handlers: %d failed\n", (int)own_failures);
    for (int i = 0; i < 3; i++) {
        on_alarm(count, 0);
        every_ms(20);
        TRY(read(ends[0], text, sizeof text));
        on_alarm(write_late, SA_RESTART);
        TRY(read(ends[0], text, sizeof text));
        every_ms(0);
        SAY("[%.4s]\n", text);
    }
    for (int i = 0; i < 20; i++) {
        on_alarm(leave, 0);
        if (sigsetjmp(out, 1) == 0) {
            every_ms(5);
            read(ends[0], text, sizeof text);
            SAY("not here\n");
        }
        every_ms(0);
    }
    // A late alarm may have written once more.
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    while (read(ends[0], text, sizeof text) > 0) {}
    fcntl(ends[0], F_SETFL, 0);
    SAY("left twenty times\n");
    hits = 0;
    SAY("storm again: %ld failed\n", storm(100));
    for (int i = 0; i < 200; i++) raise(SIGALRM);
    IS(hits >= 300);
    SAY("handlers: %d failed\n", (int)own_failures);
    // Blocked, it waits; unblocked, it is here before the call returns.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    for (int i = 0; i < 50; i++) {
        int before = hits;
        sigprocmask(SIG_BLOCK, &set, NULL);
        kill(getpid(), SIGALRM);
        write(ends[1], text, 1);
        read(ends[0], text, 1);
        if (hits != before) SAY("too early\n");
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        if (hits != before + 1) SAY("too late\n");
    }
    SAY("done\n");
    return 0;
}
