// select, poll, ppoll and epoll on a pipe: nothing, something, end, time-outs, bad descriptors.
#include "guest.h"
#include <sys/epoll.h>
#include <sys/select.h>

static void with_select(int fd) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    struct timeval wait = {0, 20000};
    TRY(select(fd + 1, &set, NULL, NULL, &wait));
    SAY("set %d, time left %d\n", FD_ISSET(fd, &set), wait.tv_usec > 0);
}

static void with_poll(int fd) {
    struct pollfd p[3] = {{.fd = fd, .events = POLLIN}, {.fd = -1, .revents = 5}, {.fd = 99}};
    TRY(poll(p, 2, 20));
    SAY("revents %x %x\n", p[0].revents, p[1].revents);
    TRY(poll(p, 3, 20));
    SAY("bad one %x\n", p[2].revents);
    struct timespec wait = {0, 10000000};
    TRY(ppoll(p, 1, &wait, NULL));
}

int main(void) {
    int ends[2];
    pipe(ends);
    int epoll = TRY(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x123456789abcdef}, got[4];
    TRY(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event));
    TRY(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event));
    for (int round = 0; round < 3; ++round) {
        SAY("round %d\n", round);
        if (round == 1) write(ends[1], "x", 1);
        if (round == 2) close(ends[1]);
        with_select(ends[0]);
        with_poll(ends[0]);
        int n = TRY(epoll_wait(epoll, got, 4, 10));
        if (n > 0) SAY("event %x %llx\n", got[0].events, (unsigned long long)got[0].data.u64);
    }
    event.events = EPOLLIN | EPOLLET | EPOLLONESHOT;
    TRY(epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &event));
    TRY(epoll_pwait(epoll, got, 4, 10, NULL));
    TRY(epoll_pwait(epoll, got, 4, 10, NULL));
    TRY(epoll_ctl(epoll, EPOLL_CTL_DEL, ends[0], NULL));
    TRY(epoll_ctl(epoll, EPOLL_CTL_DEL, ends[0], NULL));
    TRY(epoll_wait(epoll, got, 0, 10));
    int file = open("f", O_CREAT | O_RDWR, 0600);
    TRY(epoll_ctl(epoll, EPOLL_CTL_ADD, file, &event));
    struct timespec none = {0, 0};
    TRY(pselect(0, NULL, NULL, NULL, &none, NULL));
    return 0;
}
