// 100 children one after another, then 20 at once, who all live until the last one is born; collected by wait().
// Other numbers by argument.
#include "guest.h"

int main(int count, char **argv) {
    int in_a_row = count > 1 ? atoi(argv[1]) : 100, at_once = count > 2 ? atoi(argv[2]) : 20;
    long sum = 0;
    for (int i = 0; i < in_a_row; ++i) {
        pid_t child = fork();
        if (child == 0) _exit(i % 256);
        int status;
        if (waitpid(child, &status, 0) == child) sum += WEXITSTATUS(status);
    }
    SAY("%ld\n", sum);
    int gate[2];
    pipe(gate);
    for (int i = 0; i < at_once; ++i) {
        pid_t child = fork();
        if (child == -1) SAY("fork: %s\n", strerrorname_np(errno));
        if (child != 0) continue;
        char byte;
        close(gate[1]);
        _exit(read(gate[0], &byte, 1) == 0 ? i % 256 : 255);
    }
    close(gate[1]);
    sum = 0;
    int status, ended = 0;
    while (wait(&status) > 0) sum += WEXITSTATUS(status), ++ended;
    SAY("%d children, %ld, then %s\n", ended, sum, strerrorname_np(errno));
    return 0;
}
