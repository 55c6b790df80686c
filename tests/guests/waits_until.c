// Waits in memory until a moment of a clock: none ends before its clock shows that moment, and none long after.
#include "guest.h"
#include <linux/futex.h>
#include <semaphore.h>

static struct timespec moment(clockid_t clock, long ms) {
    struct timespec t;
    clock_gettime(clock, &t);
    long ns = t.tv_nsec + ms % 1000 * 1000000;
    return (struct timespec){t.tv_sec + ms / 1000 + ns / 1000000000, ns % 1000000000};
}

static double since(clockid_t clock, struct timespec t) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)(now.tv_sec - t.tv_sec) + (double)(now.tv_nsec - t.tv_nsec) / 1e9;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, held = PTHREAD_MUTEX_INITIALIZER, held_pi;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;
static int word;

static int by_cond(clockid_t clock, const struct timespec* t) {
    pthread_mutex_lock(&mutex);
    int error = pthread_cond_clockwait(&cond, &mutex, clock, t);
    pthread_mutex_unlock(&mutex);
    return error;
}
static int by_semaphore(clockid_t clock, const struct timespec* t) {
    return sem_clockwait(&semaphore, clock, t) == 0 ? 0 : errno;
}
static int by_mutex(clockid_t clock, const struct timespec* t) { return pthread_mutex_clocklock(&held, clock, t); }
static int by_pi_mutex(clockid_t clock, const struct timespec* t) {
    return clock == CLOCK_REALTIME ? pthread_mutex_timedlock(&held_pi, t) : ETIMEDOUT;
}
static int by_futex(clockid_t clock, const struct timespec* t) {
    int op = FUTEX_WAIT_BITSET | (clock == CLOCK_REALTIME ? FUTEX_CLOCK_REALTIME : 0);
    return syscall(SYS_futex, &word, op, 0, t, NULL, ~0) == 0 ? 0 : errno;
}
static int by_waitv(clockid_t clock, const struct timespec* t) {
    struct futex_waitv waiter = {.uaddr = (uintptr_t)&word, .flags = FUTEX_32};
    long done = syscall(SYS_futex_waitv, &waiter, 1, 0, t, clock);
    return done >= 0 ? 0 : errno == ENOSYS ? ETIMEDOUT : errno;
}

static void waits(const char* how, int (*wait)(clockid_t, const struct timespec*), clockid_t clock) {
    struct timespec t = moment(clock, clock == CLOCK_REALTIME || wait == by_cond ? 120 : 20);
    struct timespec kept = t;
    int error = wait(clock, &t);
    double late = wait == by_pi_mutex && clock != CLOCK_REALTIME ? 0 : since(clock, kept);
    SAY("%s, clock %d: %s, %s, %s\n", how, clock, strerrorname_np(error), late < 0 ? "too early" : "in time",
        late > 5 ? "late" : "not late");
    if (t.tv_sec != kept.tv_sec || t.tv_nsec != kept.tv_nsec) SAY("the moment has been changed\n");
    struct timespec past = {1, 0};
    SAY("  long past: %s\n", strerrorname_np(wait(clock, &past)));
}

static void* holder(void* unused) {
    (void)unused;
    pthread_mutex_lock(&held);
    pthread_mutex_lock(&held_pi);
    sem_post(&semaphore);
    pause();
    return NULL;
}

static void nothing(int signal) { (void)signal; }

static void* interrupts(void* thread) {
    guest_sleep_ms(60);
    pthread_kill(*(pthread_t*)thread, SIGUSR1);
    return NULL;
}

int main(void) {
    pthread_mutexattr_t inherits;
    pthread_mutexattr_init(&inherits);
    pthread_mutexattr_setprotocol(&inherits, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&held_pi, &inherits);
    sem_init(&semaphore, 0, 0);
    pthread_t other;
    pthread_create(&other, NULL, holder, NULL);
    sem_wait(&semaphore);
    for (int i = 0; i < 2; ++i) {
        clockid_t clock = i ? CLOCK_MONOTONIC : CLOCK_REALTIME;
        waits("condition", by_cond, clock);
        waits("semaphore", by_semaphore, clock);
        waits("mutex", by_mutex, clock);
        waits("mutex that inherits", by_pi_mutex, clock);
        waits("futex", by_futex, clock);
        waits("futexes", by_waitv, clock);
    }
    // A handler ends the wait, or doesn't, and registers and moment are what they were.
    struct sigaction action = {.sa_handler = nothing};
    sigaction(SIGUSR1, &action, NULL);
    pthread_t self = pthread_self(), third;
    pthread_create(&third, NULL, interrupts, &self);
    struct timespec t = moment(CLOCK_REALTIME, 30000);
    SAY("interrupted: %s\n", strerrorname_np(by_futex(CLOCK_REALTIME, &t)));
    pthread_join(third, NULL);
    struct timespec soon = moment(CLOCK_REALTIME, 200);
    pthread_create(&third, NULL, interrupts, &self);
    int error = by_cond(CLOCK_REALTIME, &soon);
    SAY("a condition goes on: %s, %s\n", strerrorname_np(error), since(CLOCK_REALTIME, soon) < 0 ? "too early" : "in time");
    pthread_join(third, NULL);
    // What makes no sense is refused as ever.
    struct timespec wrong = {0, 1000000000}, negative = {-1, 0};
    TRY(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &wrong, NULL, ~0));
    TRY(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &negative, NULL, ~0));
    TRY(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, 8, NULL, ~0));
    TRY(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 1, &t, NULL, ~0));
    TRY(syscall(SYS_futex, &word, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 0, &t, NULL, 0));
    TRY(syscall(SYS_futex, &word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    return 0;
}
