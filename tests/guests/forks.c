// fork: what parent and child share and what not, and that ids fit together.
#include "guest.h"

int main(void) {
    int value = 1, ends[2];
    pipe(ends);
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    pid_t before = getpid();
    pid_t child = fork();
    if (child == 0) {
        value = 2;
        SAY("parent right %d, pid new %d, is tid %d\n", getppid() == before, getpid() != before, getpid() == gettid());
        pid_t me = getpid();
        write(ends[1], &me, sizeof me);
        write(fd, "child", 5);
        _exit(9);
    }
    pid_t told;
    read(ends[0], &told, sizeof told);
    IS(told == child);
    guest_wait_for("child", child);
    IS(value == 1);
    TRY(lseek(fd, 0, SEEK_CUR));
    TRY(waitpid(child, NULL, 0));
    TRY(kill(child, 0));
    IS(getpgrp() == getpgid(0));
    IS(getpid() == before);
    return 0;
}
