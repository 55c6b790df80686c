// A process of several threads comes home: one is in a call that goes on meanwhile, one waits for a mutex, one for a
// signal, one sleeps, one computes. Each goes on where it was.
#include "guest.h"
#include <stdatomic.h>
#include <sys/ipc.h>
#include <sys/shm.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t all_there;
static atomic_long turns;
static atomic_int stop, handled;
static int pipe_ends[2], quiet_ends[2];
static char read_by_thread[16];
static int read_failed, locked, got_signal, slept;
static __thread int own = 7;

static void handler(int signal) { handled = signal; }

static void *reads(void *unused) {
    own = 8;
    pthread_barrier_wait(&all_there);
    read(pipe_ends[0], read_by_thread, sizeof read_by_thread);
    return own == 8 ? unused : (void *)1;
}
static void *is_interrupted(void *unused) {
    char c;
    pthread_barrier_wait(&all_there);
    read_failed = read(quiet_ends[0], &c, 1) == -1 ? errno : 0;
    return unused;
}
static void *locks(void *unused) {
    pthread_barrier_wait(&all_there);
    pthread_mutex_lock(&mutex);
    locked = 1;
    pthread_mutex_unlock(&mutex);
    return unused;
}
static void *waits_for_signal(void *unused) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_barrier_wait(&all_there);
    sigwait(&set, &got_signal);
    return unused;
}
static void *sleeps(void *unused) {
    pthread_barrier_wait(&all_there);
    guest_sleep_ms(300);
    slept = 1;
    return unused;
}
static void *computes(void *unused) {
    pthread_barrier_wait(&all_there);
    while (!stop) turns++;
    return unused;
}

int main(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, NULL);
    pipe(pipe_ends), pipe(quiet_ends);
    pthread_mutex_lock(&mutex);
    void *(*bodies[])(void *) = {reads, is_interrupted, locks, waits_for_signal, sleeps, computes};
    enum { COUNT = sizeof bodies / sizeof *bodies };
    pthread_t threads[COUNT];
    pthread_barrier_init(&all_there, NULL, COUNT + 1);
    for (int i = 0; i < COUNT; i++) pthread_create(&threads[i], NULL, bodies[i], NULL);
    pthread_barrier_wait(&all_there);
    guest_sleep_ms(50);                      // most are where they will wait; natively it makes no difference
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    char *memory = shmat(id, NULL, 0);
    IS(memory != (char *)-1);
    shmctl(id, IPC_RMID, NULL);
    long before = turns;
    while (turns < before + 1000) {}
    stop = 1;
    TRY(write(pipe_ends[1], "hello", 6));
    pthread_mutex_unlock(&mutex);
    kill(getpid(), SIGUSR2);
    while (handled != SIGUSR1) {
        pthread_kill(threads[1], SIGUSR1);
        guest_sleep_ms(10);
    }
    for (int i = 0; i < COUNT; i++) {
        void *result = &result;
        TRY(pthread_join(threads[i], &result));
        IS(result == NULL);
    }
    SAY("read \"%s\", the other: %s, locked %d, signal %d, slept %d\n", read_by_thread, strerrorname_np(read_failed),
        locked, got_signal == SIGUSR2, slept);
    return own;
}
