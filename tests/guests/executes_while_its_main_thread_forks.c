// A thread executes a program while the main thread, whose number it takes over, is making a child. What it executes
// makes children as well as ever.
#include "guest.h"

enum { kRounds = 40 };

static char *self, round_text[16];

static void *execute(void *moment) {
    nanosleep(moment, NULL);
    execl(self, self, round_text, NULL);
    _exit(1);
}

int main(int argc, char **argv) {
    int round = argc > 1 ? atoi(argv[1]) : 0, status;
    self = argv[0];
    pid_t child = fork();
    if (child == 0) _exit(7);
    if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 7) SAY("round %d: no child\n", round);
    if (round == kRounds) {
        SAY("all rounds\n");
        return 0;
    }
    snprintf(round_text, sizeof round_text, "%d", round + 1);
    struct timespec moment = {0, round % 10 * 100000};
    pthread_t thread;
    pthread_create(&thread, NULL, execute, &moment);
    for (;;)
        if (fork() == 0) _exit(0);
}
