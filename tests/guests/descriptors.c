// dup in all forms, flags, close_range, the lowest free number, descriptors in children.
#include "guest.h"
#include <dirent.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif

static void open_ones(void) {
    SAY("open:");
    for (int fd = 0; fd < 300; ++fd)
        if (fcntl(fd, F_GETFD) != -1) SAY(" %d", fd);
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    for (struct dirent *e; dir && (e = readdir(dir));) count += e->d_name[0] != '.';
    if (dir) closedir(dir);
    SAY("; /proc says %d\n", count - 1);
}

int main(void) {
    open_ones();
    int fd = TRY(open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    TRY(dup(fd));
    TRY(dup2(fd, 10));
    TRY(dup2(fd, fd));
    TRY(dup3(fd, 11, O_CLOEXEC));
    TRY(dup3(fd, fd, 0));
    TRY(dup2(99, 12));
    TRY(dup2(fd, 1 << 30));
    TRY(fcntl(fd, F_DUPFD, 20));
    TRY(fcntl(fd, F_DUPFD_CLOEXEC, 200));
    TRY(fcntl(fd, F_GETFD));
    TRY(fcntl(10, F_GETFD));
    TRY(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
    TRY(fcntl(10, F_GETFL) & (O_APPEND | O_NONBLOCK | O_ACCMODE));
    open_ones();
    TRY(close(4));
    TRY(open("f", O_RDONLY));
    TRY(syscall(SYS_close_range, 10, 50, CLOSE_RANGE_CLOEXEC));
    TRY(fcntl(10, F_GETFD));
    TRY(syscall(SYS_close_range, 10, ~0u, 0));
    TRY(syscall(SYS_close_range, 9, 8, 0));
    open_ones();
    TRY(close(0));
    TRY(open("/dev/null", O_RDONLY));
    close(2);
    TRY(dup(1));
    execl("/bin/sh", "sh", "-c", "ls /proc/$$/fd", NULL);
    return 1;
}
