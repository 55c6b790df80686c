// Sessions and process groups.
#include "guest.h"

int main(void) {
    IS(getsid(0) == getsid(getpid()));
    pid_t child = fork();
    if (child == 0) {
        IS(setsid() == getpid());
        IS(getsid(0) == getpid() && getpgrp() == getpid());
        TRY(setsid());
        TRY(setpgid(0, 0));
        TRY(open("/dev/tty", O_RDWR));
        _exit(0);
    }
    guest_wait_for("child", child);
    child = fork();
    if (child == 0) {
        TRY(setpgid(0, 0));
        IS(getpgrp() == getpid());
        pid_t inner = fork();
        if (inner == 0) for (;;) pause();
        signal(SIGTERM, SIG_IGN);
        kill(0, SIGTERM);
        guest_wait_for("same group", inner);
        _exit(0);
    }
    guest_wait_for("group leader", child);
    TRY(getpgid(999999));
    TRY(setpgid(1, 1));
    return 0;
}
