// A child dies of each signal that is fatal by default, and survives those that aren't.
#include "guest.h"

int main(void) {
    for (int number = 1; number < 32; ++number) {
        if (number == SIGSTOP || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU) continue;
        pid_t child = fork();
        if (child == 0) {
            kill(getpid(), number);
            _exit(3);
        }
        SAY("%d: ", number);
        guest_wait_for("child", child);
    }
    pid_t child = fork();
    if (child == 0) {
        kill(getpid(), SIGRTMIN + 2);
        _exit(3);
    }
    int status;
    waitpid(child, &status, 0);
    SAY("realtime: %d\n", WIFSIGNALED(status) && WTERMSIG(status) == SIGRTMIN + 2);
    return 0;
}
