// A pipeline of four processes, as a shell makes it.
#include "guest.h"

int main(void) {
    const char *stages[] = {"seq 1 2000", "grep 7", "sed s/7/seven/", "sort | wc"};
    int in = 0;
    pid_t children[4];
    for (int i = 0; i < 4; ++i) {
        int ends[2] = {-1, 1};
        if (i < 3) pipe(ends);
        children[i] = fork();
        if (children[i] == 0) {
            dup2(in, 0);
            dup2(ends[1], 1);
            if (i < 3) close(ends[0]);
            execl("/bin/sh", "sh", "-c", stages[i], NULL);
            _exit(1);
        }
        if (in) close(in);
        if (i < 3) close(ends[1]);
        in = ends[0];
    }
    int status[4];
    for (int i = 0; i < 4; ++i) waitpid(children[i], &status[i], 0);
    for (int i = 0; i < 4; ++i) guest_say_status(stages[i], status[i]);      // behind all that the stages print
    return 0;
}
