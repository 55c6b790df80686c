// Record locks, open file description locks and flock between two processes.
#include "guest.h"
#include <sys/file.h>

static struct flock range(int type, off_t start, off_t length) {
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return l;
}

static void child(void) {
    int fd = open("f", O_RDWR);
    struct flock l = range(F_WRLCK, 5, 10);
    TRY(fcntl(fd, F_SETLK, &l));
    TRY(fcntl(fd, F_GETLK, &l));
    SAY("held: type %d from %ld length %ld by the parent %d\n", l.l_type, l.l_start, l.l_len, l.l_pid == getppid());
    l = range(F_WRLCK, 100, 1);
    TRY(fcntl(fd, F_SETLK, &l));
    TRY(flock(fd, LOCK_EX | LOCK_NB));
    _exit(0);
}

int main(void) {
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    struct flock l = range(F_WRLCK, 0, 10);
    TRY(fcntl(fd, F_SETLK, &l));
    TRY(flock(fd, LOCK_EX));
    pid_t pid = fork();
    if (pid == 0) child();
    guest_wait_for("child", pid);
    l = range(F_UNLCK, 0, 0);
    TRY(fcntl(fd, F_SETLK, &l));
    l = range(F_RDLCK, 0, 0);
    TRY(fcntl(fd, F_OFD_SETLK, &l));
    pid = fork();
    if (pid == 0) {
        int own = open("f", O_RDWR);
        struct flock mine = range(F_WRLCK, 0, 1);
        TRY(fcntl(own, F_OFD_SETLK, &mine));
        TRY(fcntl(own, F_OFD_GETLK, &mine));
        SAY("type %d pid %d\n", mine.l_type, mine.l_pid);
        _exit(0);
    }
    guest_wait_for("child", pid);
    return 0;
}
