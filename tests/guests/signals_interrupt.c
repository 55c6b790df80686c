// A read from a pipe, interrupted: EINTR without SA_RESTART, goes on with it; poll and sleep never go on.
#include "guest.h"

static volatile sig_atomic_t hits;
static int ends[2];

static void handler(int number) {
    (void)number;
    if (++hits == 2) write(ends[1], "late", 4);                 // what the restarted read will find
}

static void alarm_in_ms(int ms) {
    struct itimerval soon = {.it_value = {0, ms * 1000}};
    setitimer(ITIMER_REAL, &soon, NULL);
}

int main(void) {
    char text[16] = {0};
    pipe(ends);
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, NULL);
    alarm_in_ms(50);
    TRY(read(ends[0], text, sizeof text));
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    alarm_in_ms(50);
    TRY(read(ends[0], text, sizeof text));
    SAY("[%s] after %d hits\n", text, (int)hits);
    struct pollfd p = {.fd = ends[0], .events = POLLIN};
    alarm_in_ms(50);
    TRY(poll(&p, 1, 5000));
    struct timespec wait = {5, 0}, left = {0, 0};
    alarm_in_ms(50);
    TRY(nanosleep(&wait, &left));
    IS(left.tv_sec == 4);
    alarm_in_ms(50);
    TRY(pause());
    alarm_in_ms(50);
    TRY(clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, &left));
    pid_t child = fork();
    if (child == 0) {
        guest_sleep_ms(150);
        _exit(1);
    }
    alarm_in_ms(50);
    guest_wait_for("child, over an alarm", child);
    SAY("%d hits\n", (int)hits);
    return 0;
}
