// A process that has used up its descriptors can fork, and its child has them all.
#include "guest.h"
#include <sys/resource.h>

int main(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 64;
    TRY(setrlimit(RLIMIT_NOFILE, &limit));
    int last = -1;
    for (int fd; (fd = open("/dev/null", O_RDONLY)) != -1;) last = fd;
    SAY("last %d, then %s\n", last, strerrorname_np(errno));
    pid_t child = fork();
    if (child == 0) {
        struct rlimit seen;
        getrlimit(RLIMIT_NOFILE, &seen);
        IS(seen.rlim_cur == limit.rlim_cur && seen.rlim_max == limit.rlim_max);
        TRY(open("/dev/null", O_RDONLY));
        TRY(fcntl(last, F_GETFD));
        TRY(fcntl(last + 1, F_GETFD));
        _exit(0);
    }
    if (child == -1) SAY("fork: %s\n", strerrorname_np(errno));
    guest_wait_for("child", child);
    return 0;
}
