// For cases with signals from outside: says that it is ready, then blocks (in a read of stdin) or computes (in
// a thread that is alone, too), or goes on by making processes, or by touching a big mapped file.
#include "guest.h"

// dprintf is no function for signal handlers: interrupted itself, it may print twice.
static void on_usr1(int number) { (void)number, write(1, "USR1\n", 5); }
static void on_usr2(int number) { (void)number, write(1, "USR2\n", 5), _exit(12); }

static volatile sig_atomic_t children_ended;
static void on_child(int number) { (void)number, ++children_ended; }

static void *wait_for_any(void *first) {
    int status;
    pid_t pid = waitpid(-1, &status, 0);
    SAY("waited for %s\n", pid == *(pid_t *)first ? "the first child" : "somebody else");
    return NULL;
}

static void look_for_children(const char *when) {
    sigset_t pending;
    sigpending(&pending);
    SAY("%s: %d ended, pending %d\n", when, (int)children_ended, sigismember(&pending, SIGCHLD));
    TRY(waitpid(-1, NULL, WNOHANG));
}

// Somebody takes away its right to make processes.
static int forks_in_vain(void) {
    pid_t first = fork();
    if (first == 0) pause();
    signal(SIGCHLD, on_child);
    pthread_t waiter, another;
    pthread_create(&waiter, NULL, wait_for_any, &first);
    guest_sleep_ms(100);
    SAY("ready %d\n", getpid());
    char c;
    read(0, &c, 1);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (int how = SIG_BLOCK; how <= SIG_UNBLOCK; ++how) {
        pthread_sigmask(how, &set, NULL);
        TRY(fork());
        look_for_children("after a fork");
        TRY(vfork());
        look_for_children("after a vfork");
        int pidfd = -1;
        TRY(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &pidfd, 0, 0));
        look_for_children("after a clone with a descriptor");
        int next = dup(0);
        SAY("the next descriptor is %d\n", next);
        close(next);
    }
    SAY("pthread_create: %s\n", strerrorname_np(pthread_create(&another, NULL, wait_for_any, NULL)));
    kill(first, SIGTERM);
    pthread_join(waiter, NULL);
    SAY("%d ended\n", (int)children_ended);
    TRY(waitpid(-1, NULL, 0));
    return 0;
}

// Answers what somebody else writes into the file.
static int shares_a_file(const char *name) {
    volatile unsigned char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, open(name, O_RDWR), 0);
    SAY("mapped\n");
    while (p[0] != 255) p[1] = p[0];
    SAY("saw the end\n");
    return 0;
}

// Each time it is told to: a while later, in which somebody may see to it that the page doesn't come.
static int touches_a_big_file(void) {
    int fd = open("big", O_RDWR | O_CREAT, 0600);
    ftruncate(fd, 20L << 30);
    unlink("big");
    volatile char *p = mmap(NULL, 20L << 30, PROT_READ, MAP_PRIVATE, fd, 0);
    SAY("ready %d\n", getpid());
    char c;
    for (long at = 0; read(0, &c, 1) == 1; at += 1L << 30) {
        struct timespec now, until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        do clock_gettime(CLOCK_MONOTONIC, &now);
        while ((now.tv_sec - until.tv_sec) * 1000 + (now.tv_nsec - until.tv_nsec) / 1000000 < 300);
        SAY("touched %d\n", p[at]);
    }
    return 6;
}

static void *computes(void *unused) {
    SAY("ready %d\n", getpid());
    for (volatile long i = 0; !unused; ++i) {}
    return NULL;
}

int main(int argc, char **argv) {
    char c;
    pthread_t thread;
    if (argc > 1 && strcmp(argv[1], "touch") == 0) return touches_a_big_file();
    if (argc > 2 && strcmp(argv[1], "share") == 0) return shares_a_file(argv[2]);
    if (argc > 1 && strcmp(argv[1], "fork") == 0) return forks_in_vain();
    signal(SIGUSR1, on_usr1);
    signal(SIGUSR2, on_usr2);
    if (argc > 1 && strcmp(argv[1], "leave-thread") == 0) {
        pthread_create(&thread, NULL, computes, NULL);
        pthread_exit(NULL);
    }
    SAY("ready %d\n", getpid());
    for (volatile long i = 0; argc > 1 && strcmp(argv[1], "compute") == 0; ++i) {}
    ssize_t n = read(0, &c, 1);
    SAY("read %zd\n", n);
    return 5;
}
