// Resource limits: read, lowered, obeyed, inherited.
#include "guest.h"
#include <sys/resource.h>

static void show(const char *what, int which) {
    struct rlimit l;
    getrlimit(which, &l);
    SAY("%s %ld %ld\n", what, (long)l.rlim_cur, (long)l.rlim_max);
}

int main(void) {
    show("nofile", RLIMIT_NOFILE), show("stack", RLIMIT_STACK), show("core", RLIMIT_CORE), show("fsize", RLIMIT_FSIZE);
    struct rlimit l = {16, 16};
    TRY(setrlimit(RLIMIT_NOFILE, &l));
    int last = -1;
    for (int fd; (fd = open("/dev/null", O_RDONLY)) != -1;) last = fd;
    SAY("last descriptor %d, then %s\n", last, strerrorname_np(errno));
    for (int fd = 3; fd <= last; ++fd) close(fd);
    l = (struct rlimit){1000, 2000};
    TRY(setrlimit(RLIMIT_FSIZE, &l));
    signal(SIGXFSZ, SIG_IGN);
    int fd = open("f", O_CREAT | O_RDWR, 0600);
    static char data[1500];
    TRY(write(fd, data, sizeof data));
    TRY(write(fd, data, 1));
    struct rlimit old;
    TRY(prlimit(0, RLIMIT_FSIZE, NULL, &old));
    SAY("%ld %ld\n", (long)old.rlim_cur, (long)old.rlim_max);
    pid_t child = fork();
    if (child == 0) {
        show("child's fsize", RLIMIT_FSIZE);
        signal(SIGXFSZ, SIG_DFL);
        write(fd, data, 1);
        _exit(0);
    }
    guest_wait_for("child", child);
    l = (struct rlimit){64 << 20, 64 << 20};
    TRY(setrlimit(RLIMIT_AS, &l));
    IS(malloc(100 << 20) == NULL);
    TRY(getpriority(PRIO_PROCESS, 0));
    TRY(setpriority(PRIO_PROCESS, 0, 5));
    TRY(getpriority(PRIO_PROCESS, 0));
    TRY(nice(3));
    return 0;
}
