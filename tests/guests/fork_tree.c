// Three generations, two children each: every end is seen by the right parent.
#include "guest.h"

static int grow(int depth) {
    int sum = 1;
    pid_t children[2];
    for (int i = 0; depth > 0 && i < 2; ++i) {
        children[i] = fork();
        if (children[i] == 0) _exit(grow(depth - 1));
    }
    for (int i = 0; depth > 0 && i < 2; ++i) {
        int status = 0;
        waitpid(children[i], &status, 0);
        sum += WEXITSTATUS(status);
    }
    return sum;
}

int main(void) {
    SAY("%d processes\n", grow(4));
    return 0;
}
