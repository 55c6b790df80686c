// Threads that sleep while another one brings their process home wake up when their time is over, not later; and who
// is woken by a signal is told what remained.
#include "guest.h"
#include <sys/ipc.h>
#include <sys/shm.h>

static pthread_barrier_t all_there;
static volatile sig_atomic_t handled;
static void handler(int signal) { handled = signal; }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
static const struct timespec length = {0, 600000000}, longer = {5, 0};

static int nanosleeps(void) { return nanosleep(&length, NULL); }
static int sleeps_by_clock(void) { return clock_nanosleep(CLOCK_REALTIME, 0, &length, NULL); }
static int wants_the_rest(void) {
    struct timespec rest;
    return nanosleep(&length, &rest);
}
static int sleeps_until(void) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += length.tv_nsec;
    until.tv_sec += until.tv_nsec / 1000000000, until.tv_nsec %= 1000000000;
    return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static void *sleeps(void *how) {
    pthread_barrier_wait(&all_there);
    double start = now();
    int result = ((int (*)(void))how)();
    double took = now() - start;
    return (void *)(long)(result ? 2 : took < 0.6 ? 3 : took > 0.85 ? 4 : 0);
}
static void *is_woken(void *unused) {
    (void)unused;
    struct timespec rest = {0};
    pthread_barrier_wait(&all_there);
    int result = nanosleep(&longer, &rest);
    double left = (double)rest.tv_sec + (double)rest.tv_nsec / 1e9;
    return (void *)(long)(result == -1 && errno == EINTR && left > 3.5 && left < 4.2 ? 0 : 2);
}

int main(void) {
    signal(SIGUSR1, handler);
    void *(*bodies[])(void *) = {sleeps, sleeps, sleeps, sleeps, is_woken};
    void *hows[] = {nanosleeps, sleeps_by_clock, wants_the_rest, sleeps_until, NULL};
    const char *names[] = {"nanosleep", "clock_nanosleep", "nanosleep with a rest", "until a time", "woken"};
    pthread_t threads[5];
    pthread_barrier_init(&all_there, NULL, 6);
    for (int i = 0; i < 5; i++) pthread_create(&threads[i], NULL, bodies[i], hows[i]);
    pthread_barrier_wait(&all_there);
    guest_sleep_ms(350);
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    IS(shmat(id, NULL, 0) != (void *)-1);
    shmctl(id, IPC_RMID, NULL);
    for (int i = 0; i < 4; i++) {
        void *result = &result;
        pthread_join(threads[i], &result);
        SAY("%s: %ld\n", names[i], (long)result);
    }
    nanosleep(&(struct timespec){0, 350000000}, NULL);
    pthread_kill(threads[4], SIGUSR1);
    void *result = &result;
    pthread_join(threads[4], &result);
    SAY("%s: %ld, handled %d\n", names[4], (long)result, handled == SIGUSR1);
    return 0;
}
