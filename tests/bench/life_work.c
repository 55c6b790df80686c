// What the benchmarks of processes, threads and signals run natively, at home and away: life_work WHAT …, one JSON line
// on standard output.
//   threads N              N times pthread_create and join
//   forks N                N times fork, _exit, waitpid
//   forkers P N            P processes that do that at once: how many forks a second they all make
//   callers T N MS         T threads that make N calls each, which last MS milliseconds at home (0: next to nothing)
//   beside N BLOCKED        N calls while another thread waits, in a read (BLOCKED) or for a mutex
//   handle N WAIT          handles N signals that say when they were sent: while it computes, or (WAIT) is paused
//   signal N COMMAND…      runs it and sends it N signals, each after the last was handled (runs outside the job)
//   idle N                 N programs executed by one, each blocked in a read; says so by one line when all of them are
#define _GNU_SOURCE
#include "times.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t *times(int n) { return malloc((size_t)(n + 1) * sizeof(int64_t)); }

static void *nothing(void *arg) { return arg; }
static int threads(int n) {
    int64_t *ns = times(n);
    for (int i = 0; i < n; i++) {
        pthread_t t;
        int64_t at = now_ns();
        if (pthread_create(&t, NULL, nothing, NULL) != 0 || pthread_join(t, NULL) != 0) return 2;
        ns[i] = now_ns() - at;
    }
    return report(ns, n);
}

static int fork_and_wait(int status) {
    pid_t pid = fork();
    int got = 0;
    if (pid == 0) _exit(status);
    return pid > 0 && waitpid(pid, &got, 0) == pid && WIFEXITED(got) && WEXITSTATUS(got) == status;
}
static int forks(int n) {
    int64_t *ns = times(n);
    ns[0] = 0;
    for (int i = 0; i < n; i++) {
        int64_t at = now_ns();
        if (!fork_and_wait(i % 128)) return 2;
        ns[i] = now_ns() - at;
    }
    return report(ns, n);
}
static int forkers(int parents, int n) {
    int gate[2], status;
    char c;
    if (pipe(gate) != 0) return 2;
    for (int p = 0; p < parents; p++) {
        pid_t pid = fork();
        if (pid < 0) return 2;
        if (pid > 0) continue;
        close(gate[1]);
        if (read(gate[0], &c, 1) != 0) _exit(2);
        for (int i = 0; i < n; i++)
            if (!fork_and_wait(i % 128)) _exit(3);
        _exit(0);
    }
    int64_t at = now_ns();
    close(gate[1]);
    for (int p = 0; p < parents; p++)
        if (wait(&status) < 0 || status != 0) return 2;
    printf("{\"forks_s\": %.1f}\n", parents * n / ((now_ns() - at) / 1e9));
    return 0;
}

static struct { int n, ms, zero; pthread_barrier_t start; } calls;
static void *caller(void *unused) {
    (void)unused;
    int64_t *ns = times(calls.n);
    char c;
    pthread_barrier_wait(&calls.start);
    for (int i = 0; i < calls.n; i++) {
        int64_t at = now_ns();
        if (calls.ms ? poll(NULL, 0, calls.ms) != 0 : read(calls.zero, &c, 1) != 1) exit(2);
        ns[i] = now_ns() - at;
    }
    return ns;
}
static int callers(int number, int n, int ms) {
    pthread_t t[64];
    if (number > 64) return 2;
    calls.n = n, calls.ms = ms, calls.zero = open("/dev/zero", O_RDONLY);
    pthread_barrier_init(&calls.start, NULL, (unsigned)number + 1);
    for (int i = 0; i < number; i++)
        if (pthread_create(&t[i], NULL, caller, NULL) != 0) return 2;
    pthread_barrier_wait(&calls.start);
    int64_t at = now_ns();
    for (int i = 0; i < number; i++) pthread_join(t[i], NULL);
    printf("{\"calls_s\": %.1f}\n", number * n / ((now_ns() - at) / 1e9));
    return 0;
}
static pthread_mutex_t until_done = PTHREAD_MUTEX_INITIALIZER;
static void *reader(void *pipe) {
    char c;
    return read(*(int *)pipe, &c, 1) == 0 ? pipe : NULL;
}
static void *sleeper(void *pipe) {
    pthread_mutex_lock(&until_done);
    return pipe;
}
static int beside(int n, int blocks) {
    int p[2];
    pthread_t blocked, calling;
    void *ns, *ended;
    pthread_mutex_lock(&until_done);
    calls.n = n, calls.zero = open("/dev/zero", O_RDONLY);
    pthread_barrier_init(&calls.start, NULL, 1);
    if (pipe(p) != 0 || pthread_create(&blocked, NULL, blocks ? reader : sleeper, p) != 0) return 2;
    if (pthread_create(&calling, NULL, caller, NULL) != 0 || pthread_join(calling, &ns) != 0) return 2;
    close(p[1]);
    pthread_mutex_unlock(&until_done);
    return pthread_join(blocked, &ended) != 0 || ended != p || report(ns, n);
}

static int64_t *taken;
static volatile sig_atomic_t handled;
static void on_signal(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    taken[handled] = now_ns() - (int64_t)info->si_value.sival_ptr;
    handled++;
}
static int handle(int n, int paused) {
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigset_t ours, before;
    sigemptyset(&ours);
    sigaddset(&ours, SIGRTMIN);
    taken = times(n);
    sigaction(SIGRTMIN, &action, NULL);
    sigprocmask(SIG_BLOCK, &ours, &before);
    for (int i = 0; i < n; i++) {
        if (write(1, "r", 1) != 1) return 2;
        if (!paused) sigprocmask(SIG_UNBLOCK, &ours, NULL);
        while (handled == i)
            if (paused) sigsuspend(&before);
        if (!paused) sigprocmask(SIG_BLOCK, &ours, NULL);
    }
    return report(taken, n);
}
static int signaller(int n, char **command) {
    int out[2];
    char c, line[200];
    if (pipe(out) != 0) return 2;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], 1);
        close(out[0]);
        close(out[1]);
        execvp(command[0], command);
        _exit(127);
    }
    close(out[1]);
    for (int i = 0; i < n; i++) {
        if (read(out[0], &c, 1) != 1 || c != 'r') return 2;
        usleep(1000);       // not waiting for an event: the signal comes some time after the last call
        union sigval at = {.sival_ptr = (void *)now_ns()};
        if (sigqueue(pid, SIGRTMIN, at) != 0) return 2;
    }
    for (ssize_t got; (got = read(out[0], line, sizeof line)) > 0;)
        if (write(1, line, (size_t)got) != got) return 2;
    int status;
    return waitpid(pid, &status, 0) != pid || status != 0;
}

static int idle(int n, char *self) {
    int hold[2], ready[2], status;
    char c, *again[] = {self, "block", NULL};
    if (pipe(hold) != 0 || pipe(ready) != 0) return 2;
    for (int i = 0; i < n; i++) {
        pid_t pid = fork();
        if (pid < 0) return 2;
        if (pid > 0) continue;
        dup2(hold[0], 0);
        dup2(ready[1], 1);
        for (int fd = 3; fd < 8; fd++) close(fd);
        execv(self, again);
        _exit(127);
    }
    for (int i = 0; i < n; i++)
        if (read(ready[0], &c, 1) != 1) return 2;
    printf("ready\n");
    fflush(stdout);
    if (read(0, &c, 1) < 0) return 2;
    close(hold[1]);
    for (int i = 0; i < n; i++)
        if (wait(&status) < 0 || status != 0) return 2;
    return 0;
}
static int block(void) {
    char c;
    return write(1, "r", 1) != 1 || read(0, &c, 1) != 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "threads") && argc > 2) return threads(atoi(argv[2]));
    if (!strcmp(what, "forks") && argc > 2) return forks(atoi(argv[2]));
    if (!strcmp(what, "forkers") && argc > 3) return forkers(atoi(argv[2]), atoi(argv[3]));
    if (!strcmp(what, "callers") && argc > 4) return callers(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
    if (!strcmp(what, "beside") && argc > 3) return beside(atoi(argv[2]), atoi(argv[3]));
    if (!strcmp(what, "handle") && argc > 3) return handle(atoi(argv[2]), atoi(argv[3]));
    if (!strcmp(what, "signal") && argc > 3) return signaller(atoi(argv[2]), argv + 3);
    if (!strcmp(what, "idle") && argc > 2) return idle(atoi(argv[2]), argv[0]);
    if (!strcmp(what, "block")) return block();
    fprintf(stderr, "usage: see the source\n");
    return 2;
}
