// Job control: a child stops itself, is continued, and is stopped while blocked in a call and while computing.
#include "guest.h"

static void stop_and_go(const char *what, pid_t child) {
    int status;
    guest_sleep_ms(30);
    kill(child, SIGSTOP);
    waitpid(child, &status, WUNTRACED);
    guest_say_status(what, status);
    kill(child, SIGCONT);
    waitpid(child, &status, WCONTINUED);
    guest_say_status(what, status);
}

int main(void) {
    int ends[2], status;
    pipe(ends);
    pid_t child = fork();
    if (child == 0) {
        raise(SIGSTOP);
        _exit(1);
    }
    waitpid(child, &status, WUNTRACED);
    guest_say_status("itself", status);
    kill(child, SIGCONT);
    guest_wait_for("itself", child);
    child = fork();
    if (child == 0) {
        char c = 0;
        read(ends[0], &c, 1);
        _exit(c);
    }
    stop_and_go("reader", child);
    write(ends[1], "\5", 1);
    guest_wait_for("reader", child);
    child = fork();
    if (child == 0) for (volatile long i = 0;; ++i) {}
    stop_and_go("computer", child);
    kill(child, SIGTERM);
    guest_wait_for("computer", child);
    return 0;
}
