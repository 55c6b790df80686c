// Wrong pointers and wrong descriptors: the kernel's error, in the kernel's order, and no data is eaten.
#include "guest.h"
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/utsname.h>

#define BAD ((void *)0x10)

static void files(int fd) {
    struct iovec bad_part[2] = {{"ab", 2}, {BAD, 4}};
    TRY(write(fd, BAD, 5));
    TRY(write(99, BAD, 5));
    TRY(write(fd, BAD, 0));
    TRY(writev(fd, BAD, 1));
    TRY(writev(99, BAD, 1));
    TRY(writev(fd, bad_part, 2));
    TRY(pwrite(fd, BAD, 5, 0));
    TRY(pread(fd, BAD, 5, 0));
    TRY(pread(99, BAD, 5, 0));
    TRY(syscall(SYS_openat, AT_FDCWD, BAD, O_RDONLY));
    TRY(syscall(SYS_openat, 99, "relative", O_RDONLY));
    TRY(syscall(SYS_newfstatat, AT_FDCWD, "none", BAD, 0));
    TRY(syscall(SYS_newfstatat, AT_FDCWD, ".", BAD, 0));
    TRY(syscall(SYS_fstat, 99, BAD));
    TRY(syscall(SYS_fstat, fd, BAD));
    TRY(syscall(SYS_getcwd, BAD, 4096));
    TRY(syscall(SYS_getdents64, fd, BAD, 100));
    TRY(syscall(SYS_rename, "none", BAD));
    TRY(syscall(SYS_rename, BAD, "none"));
    TRY(syscall(SYS_readlink, "none", BAD, 10));
    TRY(syscall(SYS_fcntl, fd, F_GETLK, BAD));
    TRY(syscall(SYS_fcntl, 99, F_GETLK, BAD));
}

static void others(void) {
    TRY(syscall(SYS_pipe2, BAD, 0));
    TRY(syscall(SYS_pipe2, BAD, 0xffff));
    TRY(syscall(SYS_poll, BAD, 1, 0));
    TRY(syscall(SYS_poll, BAD, 0, 0));
    TRY(syscall(SYS_select, 1, BAD, NULL, NULL, NULL));
    TRY(syscall(SYS_epoll_wait, 99, BAD, 1, 0));
    TRY(syscall(SYS_wait4, -1, BAD, 0, NULL));
    TRY(syscall(SYS_uname, BAD));
    TRY(syscall(SYS_getrlimit, RLIMIT_NOFILE, BAD));
    TRY(syscall(SYS_getrlimit, 999, BAD));
    TRY(syscall(SYS_setitimer, ITIMER_REAL, BAD, NULL));
    TRY(syscall(SYS_nanosleep, BAD, NULL));
    TRY(syscall(SYS_clock_gettime, CLOCK_REALTIME, BAD));
    TRY(syscall(SYS_rt_sigaction, SIGUSR1, BAD, NULL, 8));
    TRY(syscall(SYS_rt_sigaction, SIGUSR1, BAD, NULL, 4));
    TRY(syscall(SYS_rt_sigprocmask, SIG_BLOCK, BAD, NULL, 8));
    TRY(syscall(SYS_execve, BAD, NULL, NULL));
    TRY(syscall(SYS_execve, "/bin/true", BAD, NULL));
    TRY(syscall(SYS_bind, 0, BAD, 16));
    TRY(syscall(SYS_getrandom, BAD, 16, 0));
}

int main(void) {
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    files(fd);
    others();
    int ends[2];
    pipe(ends);
    write(ends[1], "kept", 4);
    char text[10] = {0};
    TRY(read(ends[0], BAD, 4));
    TRY(read(ends[0], text, 4));
    SAY("[%s]\n", text);
    return 0;
}
