// 100 children one after another, then 20 at once, collected by wait().
#include "guest.h"

int main(void) {
    long sum = 0;
    for (int i = 0; i < 100; ++i) {
        pid_t child = fork();
        if (child == 0) _exit(i);
        int status;
        if (waitpid(child, &status, 0) == child) sum += WEXITSTATUS(status);
    }
    SAY("%ld\n", sum);
    for (int i = 0; i < 20; ++i)
        if (fork() == 0) _exit(i);
    sum = 0;
    int status, count = 0;
    while (wait(&status) > 0) sum += WEXITSTATUS(status), ++count;
    SAY("%d children, %ld, then %s\n", count, sum, strerrorname_np(errno));
    return 0;
}
