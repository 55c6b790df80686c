// All forms of waiting: nothing there, WNOHANG, by group, waitid, stopped and continued children, WNOWAIT, rusage.
#include "guest.h"
#include <sys/resource.h>

int main(void) {
    int status;
    siginfo_t info = {0};
    TRY(wait(&status));
    pid_t child = fork();
    if (child == 0) {
        for (;;) pause();
    }
    TRY(waitpid(child, &status, WNOHANG));
    kill(child, SIGSTOP);
    IS(waitpid(child, &status, WUNTRACED) == child);
    guest_say_status("child", status);
    kill(child, SIGCONT);
    IS(waitpid(child, &status, WCONTINUED) == child);
    guest_say_status("child", status);
    kill(child, SIGKILL);
    TRY(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    SAY("waitid: its pid %d code %d status %d signal %d\n", info.si_pid == child, info.si_code, info.si_status,
        info.si_signo);
    struct rusage usage;
    IS(wait4(child, &status, 0, &usage) == child);
    guest_say_status("child", status);
    child = fork();
    if (child == 0) {
        setpgid(0, 0);
        _exit(8);
    }
    setpgid(child, child);
    TRY(waitid(P_PGID, getpgrp(), &info, WEXITED | WNOHANG));
    IS(waitpid(-child, &status, 0) == child);
    guest_say_status("own group", status);
    TRY(waitid(P_ALL, 0, &info, WEXITED));
    TRY(waitpid(1, &status, 0));
    TRY(waitpid(-1, &status, 0x12345678));
    signal(SIGCHLD, SIG_IGN);
    child = fork();
    if (child == 0) _exit(1);
    TRY(waitpid(child, &status, 0));                  // waits for its end, but there is nothing to collect
    return 0;
}
