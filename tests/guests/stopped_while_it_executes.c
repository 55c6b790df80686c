// Job control around an execve: a stop that comes at any moment of it is told to the parent, lasts until SIGCONT, and
// the program that was executed goes on behind it.
#include "guest.h"

enum { kRounds = 120 };

// A child that executes this program once more, to wait for a byte there.
static pid_t start(const int *ends) {
    pid_t child = fork();
    if (child != 0) return child;
    dup2(ends[0], 0);
    execl("/proc/self/exe", "waits", NULL);
    _exit(1);
}

// The moment is another one in each round: from the fork to well behind the exec.
static void let_it_come_so_far(int round) {
    struct timespec t = {0, round % 40 * 100000};
    nanosleep(&t, NULL);
}

int main(int argc, char **argv) {
    char c = 0;
    if (argc == 1 && strcmp(argv[0], "waits") == 0) return read(0, &c, 1) == 1 ? c : 1;
    int stopped = 0, continued = 0, ended = 0, status;
    for (int i = 0; i < kRounds; ++i) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) < 0) return 1;
        pid_t child = start(ends);
        let_it_come_so_far(i);
        kill(child, SIGSTOP);
        stopped += waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status);
        kill(child, SIGCONT);
        continued += waitpid(child, &status, WCONTINUED) == child && WIFCONTINUED(status);
        write(ends[1], "\5", 1);
        ended += waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 5;
        close(ends[0]);
        close(ends[1]);
    }
    SAY("%d stopped, %d continued, %d ended well\n", stopped, continued, ended);
    return 0;
}
