// Timers that count CPU time go on counting when their process comes home, with what was left of them: of the process,
// of a thread, of setitimer; and what a limit still allows.
#include "guest.h"
#include <sys/ipc.h>
#include <sys/resource.h>
#include <sys/shm.h>

static volatile sig_atomic_t hits[65];
static void handler(int signal) { hits[signal]++; }

static double used(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
static void burn(double seconds) {
    for (double start = used(); used() < start + seconds;)
        for (volatile int i = 0; i < 2000000; ++i) {}
}
static double burned_until(int signal) {
    double start = used();
    while (!hits[signal] && used() < start + 5)
        for (volatile int i = 0; i < 2000000; ++i) {}
    return used() - start;
}
static void comes_home(void) {
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    IS(shmat(id, NULL, 0) != (void *)-1);
    shmctl(id, IPC_RMID, NULL);
}

// Half of what it counts is used before, the other half after.
static void counts(const char *what, int signal, int (*set)(int signal)) {
    pid_t child = fork();
    if (child == 0) {
        struct sigaction action = {.sa_handler = handler};
        sigaction(signal, &action, NULL);
        IS(set(signal) == 0);
        burn(0.12);
        comes_home();
        int before = hits[signal];
        double more = burned_until(signal);
        SAY("%s: before %d, in time %d\n", what, before, more > 0.03 && more < 0.23);
        exit(0);
    }
    guest_wait_for(what, child);
}

static int set_timer(clockid_t clock, int signal) {
    timer_t timer;
    struct sigevent how = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal};
    struct itimerspec when = {.it_value = {0, 250000000}};
    return timer_create(clock, &how, &timer) | timer_settime(timer, 0, &when, NULL);
}
static int of_process(int signal) { return set_timer(CLOCK_PROCESS_CPUTIME_ID, signal); }
static int of_thread(int signal) { return set_timer(CLOCK_THREAD_CPUTIME_ID, signal); }
static int interval(int signal) {
    struct itimerval when = {{0, 50000}, {0, 250000}};
    return setitimer(signal == SIGPROF ? ITIMER_PROF : ITIMER_VIRTUAL, &when, NULL);
}

int main(void) {
    counts("timer of the process", SIGUSR1, of_process);
    counts("timer of the thread", SIGUSR2, of_thread);
    counts("ITIMER_PROF", SIGPROF, interval);
    counts("ITIMER_VIRTUAL", SIGVTALRM, interval);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {1, 2}, seen;
        signal(SIGXCPU, handler);
        setrlimit(RLIMIT_CPU, &limit);
        burn(0.5);
        comes_home();
        double more = burned_until(SIGXCPU);
        IS(more > 0.2 && more < 0.9);
        getrlimit(RLIMIT_CPU, &seen);
        SAY("hard limit %ld\n", (long)seen.rlim_max);
        burn(0.2);
        SAY("goes on\n");
        burn(5);
    }
    guest_wait_for("limited", child);
    return 0;
}
