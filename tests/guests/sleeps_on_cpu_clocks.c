// A sleep on a CPU clock lasts until so much CPU time has been used: from now on, or in all.
#include "guest.h"

static volatile int over;

static void* burns(void* unused) {
    (void)unused;
    while (!over) {}
    return NULL;
}

static double used(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(void) {
    for (int i = 0; i < 300; ++i) getppid();              // some of it at home
    pthread_t thread;
    clockid_t of_thread, of_process;
    pthread_create(&thread, NULL, burns, NULL);
    pthread_getcpuclockid(thread, &of_thread);
    clock_getcpuclockid(getpid(), &of_process);
    struct { const char* name; clockid_t clock; } clocks[] = {
        {"process", CLOCK_PROCESS_CPUTIME_ID}, {"process by number", of_process}, {"thread", of_thread}};
    for (int i = 0; i < 3; ++i) {
        clockid_t clock = clocks[i].clock;
        struct timespec while_ = {0, 30000000};
        double before = used(clock);
        int error = clock_nanosleep(clock, 0, &while_, NULL);
        double took = used(clock) - before;
        SAY("%s: for a while: %d, %s\n", clocks[i].name, error, took >= 0.03 && took < 1 ? "right" : "wrong");
        double until = used(clock) + 0.05;
        struct timespec t = {(time_t)until, (long)((until - (double)(time_t)until) * 1e9)};
        error = clock_nanosleep(clock, TIMER_ABSTIME, &t, NULL);
        double late = used(clock) - until;
        SAY("%s: until: %d, %s\n", clocks[i].name, error, late > -0.001 && late < 1 ? "right" : "wrong");
        struct timespec past = {0, 1};
        SAY("%s: past: %d\n", clocks[i].name, clock_nanosleep(clock, TIMER_ABSTIME, &past, NULL));
    }
    over = 1;
    pthread_join(thread, NULL);
    struct timespec t = {0, 1};
    SAY("one's own thread: %d\n", clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, TIMER_ABSTIME, &t, NULL));
    return 0;
}
