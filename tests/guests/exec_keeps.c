// What lives through exec and what doesn't: descriptors, mask, ignored signals, handlers, limits, cwd, umask, pid.
#include "guest.h"
#include <sys/resource.h>

static void handler(int number) { (void)number; }

static int after(char **argv) {
    struct sigaction action;
    sigset_t mask;
    IS(atoi(argv[2]) == getpid());
    TRY(fcntl(5, F_GETFD));
    TRY(fcntl(6, F_GETFD));
    TRY(fcntl(7, F_GETFD));
    TRY(lseek(5, 0, SEEK_CUR));
    sigaction(SIGUSR1, NULL, &action);
    IS(action.sa_handler == SIG_IGN);
    sigaction(SIGUSR2, NULL, &action);
    IS(action.sa_handler == SIG_DFL);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    SAY("blocked: HUP %d TERM %d\n", sigismember(&mask, SIGHUP), sigismember(&mask, SIGTERM));
    sigpending(&mask);
    SAY("pending: HUP %d\n", sigismember(&mask, SIGHUP));
    SAY("umask %o\n", umask(0));
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    SAY("descriptors %lu\n", limit.rlim_cur);
    SAY("alarm left %d\n", alarm(0) > 0);
    char path[4096];
    IS(strcmp(strrchr(getcwd(path, sizeof path), '/'), "/deeper") == 0);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1) return after(argv);
    char self[4096] = {0}, pid[20];
    readlink("/proc/self/exe", self, sizeof self - 1);
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    write(fd, "12345", 5);
    dup2(fd, 5);
    dup3(fd, 6, O_CLOEXEC);
    dup2(fd, 7);
    fcntl(7, F_SETFD, FD_CLOEXEC);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, handler);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGHUP);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    raise(SIGHUP);
    umask(027);
    struct rlimit limit = {64, 64};
    setrlimit(RLIMIT_NOFILE, &limit);
    alarm(1000);
    mkdir("deeper", 0755);
    chdir("deeper");
    snprintf(pid, sizeof pid, "%d", getpid());
    execl(self, "again", "after", pid, NULL);
    return 1;
}
