// eventfd, timerfd, signalfd, inotify, memfd, pidfd: the kernel's objects with a descriptor.
#include "guest.h"
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static void timers(void) {
    uint64_t count = 0;
    int fd = TRY(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    struct itimerspec soon = {.it_value = {0, 20000000}, .it_interval = {0, 1000000}};
    TRY(timerfd_settime(fd, 0, &soon, NULL));
    TRY(read(fd, &count, 8));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    TRY(poll(&p, 1, 1000));
    TRY(read(fd, &count, 8));
    IS(count >= 1);
    TRY(timerfd_gettime(fd, &soon));
    SAY("interval %ld\n", soon.it_interval.tv_nsec);
}

static void signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = TRY(signalfd(-1, &set, 0));
    kill(getpid(), SIGUSR1);
    struct signalfd_siginfo info;
    TRY(read(fd, &info, sizeof info));
    SAY("signal %u from me %d\n", info.ssi_signo, info.ssi_pid == (unsigned)getpid());
}

static void notifications(void) {
    char buffer[1024];
    int fd = TRY(inotify_init1(IN_NONBLOCK));
    TRY(inotify_add_watch(fd, ".", IN_CREATE | IN_DELETE));
    close(open("seen", O_CREAT | O_WRONLY, 0600));
    unlink("seen");
    ssize_t n = TRY(read(fd, buffer, sizeof buffer));
    for (char *at = buffer; at < buffer + n;) {
        struct inotify_event *e = (void *)at;
        SAY("mask %x name %s\n", e->mask, e->name);
        at += sizeof *e + e->len;
    }
    TRY(read(fd, buffer, sizeof buffer));
}

int main(void) {
    uint64_t value = 5;
    int fd = TRY(eventfd(3, EFD_NONBLOCK));
    TRY(write(fd, &value, 8));
    TRY(read(fd, &value, 8));
    SAY("value %lu\n", value);
    TRY(read(fd, &value, 8));
    TRY(read(fd, &value, 7));
    timers();
    signals();
    notifications();
    int memory = TRY(memfd_create("name", MFD_ALLOW_SEALING));
    TRY(write(memory, "abc", 3));
    TRY(fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE));
    TRY(write(memory, "abc", 3));
    TRY(fcntl(memory, F_GET_SEALS));
    pid_t child = fork();
    if (child == 0) pause();
    int pidfd = TRY(syscall(SYS_pidfd_open, child, 0));
    TRY(syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0));
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    TRY(poll(&p, 1, 2000));
    guest_wait_for("child", child);
    return 0;
}
