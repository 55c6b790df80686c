// What a handler blocks while it runs, as seen by everything that asks or inherits; and what it blocks for itself,
// which its return takes back.
#include "guest.h"
#include <setjmp.h>
#include <sys/signalfd.h>

static volatile sig_atomic_t got;
static char *self;
static sigjmp_buf back;
static sigset_t second;

static void count(int number) { (void)number, ++got; }

static void say_blocked(const char *when) {
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    SAY("%s: blocked", when);
    for (int s = 1; s < 32; ++s)
        if (sigismember(&now, s)) SAY(" %s", sigabbrev_np(s));
    SAY("\n");
}

static void is_pending(int number) {
    (void)number;
    kill(getpid(), SIGUSR2);
    pid_t child = fork();
    if (child == 0) {
        kill(getppid(), SIGTERM);
        _exit(0);
    }
    guest_wait_for("sender", child);
    sigset_t pending;
    sigpending(&pending);
    SAY("pending %d %d, got %d\n", sigismember(&pending, SIGUSR2), sigismember(&pending, SIGTERM), (int)got);
}

static void by_descriptor(int number) {
    (void)number;
    struct signalfd_siginfo info = {0};
    int fd = signalfd(-1, &second, SFD_NONBLOCK);
    raise(SIGUSR2);
    TRY(read(fd, &info, sizeof info));
    SAY("SIG%s\n", sigabbrev_np((int)info.ssi_signo));
    close(fd);
}

static void by_waiting(int number) {
    (void)number;
    kill(getpid(), SIGUSR2);
    struct timespec second_long = {1, 0};
    siginfo_t info;
    SAY("sigtimedwait SIG%s\n", sigabbrev_np(sigtimedwait(&second, &info, &second_long)));
}

static void blocks_all(int number) {
    (void)number;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    kill(getpid(), SIGUSR2);
    SAY("inside, got %d\n", (int)got);
}

static void leaps(int number) {
    (void)number;
    kill(getpid(), SIGUSR2);
    siglongjmp(back, 1);
}

static void forks(int number) {
    (void)number;
    pid_t child = fork();
    if (child == 0) {
        say_blocked("child of a handler");
        raise(SIGUSR2);
        sigset_t pending;
        sigpending(&pending);
        SAY("pending %d, got %d\n", sigismember(&pending, SIGUSR2), (int)got);
        execl(self, self, "executed", NULL);
    }
    guest_wait_for("child", child);
}

static void *of_thread(void *nothing) {
    say_blocked("thread of a handler");
    return nothing;
}

static void makes_thread(int number) {
    (void)number;
    pthread_t thread;
    pthread_create(&thread, NULL, of_thread, NULL);
    pthread_join(thread, NULL);
}

static void nests(int number) {
    if (number == SIGUSR1) raise(SIGHUP);
    else raise(SIGUSR2);
    SAY("%s: got %d\n", number == SIGUSR1 ? "outer" : "inner", (int)got);
}

static void run(const char *what, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler};
    sigaddset(&action.sa_mask, SIGUSR2);
    sigaddset(&action.sa_mask, SIGTERM);
    sigaction(SIGUSR1, &action, NULL);
    got = 0;
    SAY("-- %s\n", what);
    raise(SIGUSR1);
    SAY("got %d\n", (int)got);
    say_blocked("afterwards");
    raise(SIGUSR2);
    SAY("got %d\n", (int)got);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        say_blocked("executed");
        sigset_t pending;
        sigpending(&pending);
        SAY("pending %d\n", sigismember(&pending, SIGUSR2));
        return 0;
    }
    self = argv[0];
    sigemptyset(&second);
    sigaddset(&second, SIGUSR2);
    signal(SIGUSR2, count);
    signal(SIGTERM, count);
    run("sigpending", is_pending);
    run("signalfd", by_descriptor);
    run("sigtimedwait", by_waiting);
    run("everything blocked by the handler itself", blocks_all);
    run("fork and exec", forks);
    run("a thread", makes_thread);
    struct sigaction inner = {.sa_handler = nests};
    sigaction(SIGHUP, &inner, NULL);
    run("nested", nests);
    if (sigsetjmp(back, 1) == 0) run("a leap", leaps);
    SAY("got %d\n", (int)got);
    say_blocked("after the leap");
    return 0;
}
