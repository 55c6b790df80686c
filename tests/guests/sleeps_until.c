// Sleeps and timers until a moment of a clock: when they are over the clock shows it, and not much more.
#include "guest.h"
#include <sys/timerfd.h>

static struct timespec moment(clockid_t clock, long ms) {
    struct timespec t;
    clock_gettime(clock, &t);
    long ns = t.tv_nsec + ms * 1000000;
    return (struct timespec){t.tv_sec + ns / 1000000000, ns % 1000000000};
}

static const char* judge(clockid_t clock, struct timespec t) {
    struct timespec now;
    clock_gettime(clock, &now);
    double late = (double)(now.tv_sec - t.tv_sec) + (double)(now.tv_nsec - t.tv_nsec) / 1e9;
    return late < 0 ? "too early" : late > 5 ? "late" : "in time";
}

static void sleeps(const char* name, clockid_t clock) {
    struct timespec t = moment(clock, 50);
    int error = clock_nanosleep(clock, TIMER_ABSTIME, &t, NULL);
    SAY("%s: sleep: %d, %s\n", name, error, judge(clock, t));
    struct timespec past = {1, 0}, wrong = {0, -1};
    SAY("%s: past: %d, wrong: %d\n", name, clock_nanosleep(clock, TIMER_ABSTIME, &past, NULL),
        clock_nanosleep(clock, TIMER_ABSTIME, &wrong, NULL));
}

static void timer_descriptor(const char* name, clockid_t clock) {
    int fd = timerfd_create(clock, TFD_CLOEXEC);
    struct itimerspec when = {.it_value = moment(clock, 50)};
    uint64_t count = 0;
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL);
    read(fd, &count, sizeof count);
    SAY("%s: descriptor: %d times, %s\n", name, (int)count, judge(clock, when.it_value));
    close(fd);
}

static void timer_with_signal(const char* name, clockid_t clock) {
    sigset_t alarm;
    sigemptyset(&alarm), sigaddset(&alarm, SIGALRM);
    sigprocmask(SIG_BLOCK, &alarm, NULL);
    timer_t timer;
    timer_create(clock, NULL, &timer);
    struct itimerspec when = {.it_value = moment(clock, 50)};
    timer_settime(timer, TIMER_ABSTIME, &when, NULL);
    int signal = sigwaitinfo(&alarm, NULL);
    SAY("%s: timer: signal %d, %s\n", name, signal, judge(clock, when.it_value));
    timer_delete(timer);
}

static void nothing(int signal) { (void)signal; }

int main(void) {
    struct { const char* name; clockid_t clock; } clocks[] = {
        {"realtime", CLOCK_REALTIME}, {"monotonic", CLOCK_MONOTONIC}, {"boottime", CLOCK_BOOTTIME}};
    for (int i = 0; i < 3; ++i) {
        sleeps(clocks[i].name, clocks[i].clock);
        timer_descriptor(clocks[i].name, clocks[i].clock);
        timer_with_signal(clocks[i].name, clocks[i].clock);
    }
    sleeps("tai", CLOCK_TAI);
    // A handler ends a sleep until a moment; to go on is to sleep until the same.
    signal(SIGUSR1, nothing);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        guest_sleep_ms(100);
        kill(parent, SIGUSR1);
        _exit(0);
    }
    struct timespec t = moment(CLOCK_REALTIME, 400);
    SAY("interrupted: %d\n", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL));
    int error = clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL);
    SAY("to its end: %d, %s\n", error, judge(CLOCK_REALTIME, t));
    guest_wait_for("child", child);
    return 0;
}
