// A family is killed while its eldest makes children, one after another: whoever adopts what is left sees all of it end.
#include "guest.h"
#include <sys/prctl.h>

enum { kRounds = 60 };

static void make_children(void) {
    setpgid(0, 0);
    for (;;) {
        pid_t child = fork();
        if (child == 0) _exit(0);
        waitpid(child, NULL, 0);
    }
}

// The moment is another one in each round.
static void let_it_come_so_far(int round) {
    struct timespec t = {0, round % 20 * 150000};
    nanosleep(&t, NULL);
}

int main(void) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    int killed = 0;
    for (int i = 0; i < kRounds; ++i) {
        pid_t eldest = fork();
        if (eldest == 0) make_children();
        setpgid(eldest, eldest);
        let_it_come_so_far(i);
        kill(-eldest, i % 3 ? SIGKILL : SIGTERM);
        int status = 0;
        killed += waitpid(eldest, &status, 0) == eldest && WIFSIGNALED(status);
        while (wait(NULL) > 0) {}
    }
    SAY("%d killed, and nobody is left: %s\n", killed, strerrorname_np(errno));
    return 0;
}
