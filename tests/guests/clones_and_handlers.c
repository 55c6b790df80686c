// Children that have their parent's signal handlers, none of them, or a copy; and children that come with a descriptor.
#include "guest.h"
#include <linux/sched.h>
#include <sys/syscall.h>

static int clone3(uint64_t flags, int *pidfd) {
    struct clone_args args = {.flags = flags, .pidfd = (uintptr_t)pidfd, .exit_signal = SIGCHLD};
    return (int)syscall(SYS_clone3, &args, sizeof args);
}
static void handler(int number) { SAY("handled SIG%s\n", sigabbrev_np(number)); }
static const char *action_of(int number) {
    struct sigaction action;
    sigaction(number, NULL, &action);
    return action.sa_handler == handler ? "handled" : action.sa_handler == SIG_IGN ? "ignored" : "default";
}
static void child_that_shows(const char *what, uint64_t flags) {
    pid_t child = clone3(flags, NULL);
    if (child == -1) SAY("%s: %s\n", what, strerrorname_np(errno));
    if (child == 0) {
        SAY("%s: %s %s %s\n", what, action_of(SIGUSR1), action_of(SIGUSR2), action_of(SIGTSTP));
        setpgid(0, 0);                                       // a group that has a parent elsewhere, so it can stop
        raise(SIGTSTP);
        raise(SIGUSR1);
        _exit(7);
    }
    int status = 0;
    while (child > 0 && waitpid(child, &status, WUNTRACED) == child) {
        guest_say_status(what, status);
        if (!WIFSTOPPED(status)) break;
        kill(child, SIGCONT);
    }
}

static char stack[65536] __attribute__((aligned(16)));
static int sees_descriptor(void *pidfd) { return *(int *)pidfd; }
static int sets_a_handler(void *flags) {
    signal(SIGUSR2, flags ? SIG_DFL : SIG_IGN);
    return 3;
}

int main(void) {
    signal(SIGUSR1, handler), signal(SIGTSTP, handler), signal(SIGUSR2, SIG_IGN);
    child_that_shows("a copy", 0);
    child_that_shows("none of them", CLONE_CLEAR_SIGHAND);
    child_that_shows("none, and shared", CLONE_CLEAR_SIGHAND | CLONE_SIGHAND | CLONE_VM);

    int pidfd = -1;
    pid_t child = clone3(CLONE_PIDFD | CLONE_CLEAR_SIGHAND, &pidfd);
    if (child == 0) _exit(pidfd == -1 ? 4 : 5);
    SAY("descriptor %d, closed by exec %d\n", pidfd, fcntl(pidfd, F_GETFD));
    siginfo_t info;
    TRY(waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED));
    IS(info.si_pid == child && info.si_status == 4);
    close(pidfd);
    TRY(clone3(CLONE_PIDFD, NULL));
    TRY(syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, 0, &pidfd, 0, 0));
    TRY(syscall(SYS_clone, CLONE_PIDFD | CLONE_DETACHED | SIGCHLD, 0, &pidfd, 0, 0));
    child = clone(sees_descriptor, stack + sizeof stack, CLONE_PIDFD | CLONE_VFORK | CLONE_VM | SIGCHLD, &pidfd, &pidfd);
    struct pollfd ends = {pidfd, POLLIN, 0};
    TRY(poll(&ends, 1, -1));
    guest_wait_for("child with a descriptor", child);
    TRY(fcntl(3, F_GETFD));
    TRY(close(3));
    TRY(close(3));

    // Last, because today a guest comes home for it.
    child = clone(sets_a_handler, stack + sizeof stack, CLONE_VM | CLONE_SIGHAND | SIGCHLD, "default");
    guest_wait_for("child with the same handlers", child);
    SAY("SIGUSR2 is %s\n", action_of(SIGUSR2));
    child = clone(sets_a_handler, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
    guest_wait_for("child with a copy of them", child);
    SAY("SIGUSR2 is %s\n", action_of(SIGUSR2));
    return 0;
}
