// For cases with signals from outside: says that it is ready, then blocks (in a read of stdin) or computes.
#include "guest.h"

static void on_usr1(int number) { (void)number, SAY("USR1\n"); }
static void on_usr2(int number) { (void)number, SAY("USR2\n"), exit(12); }

int main(int argc, char **argv) {
    char c;
    signal(SIGUSR1, on_usr1);
    signal(SIGUSR2, on_usr2);
    SAY("ready %d\n", getpid());
    for (volatile long i = 0; argc > 1 && strcmp(argv[1], "compute") == 0; ++i) {}
    ssize_t n = read(0, &c, 1);
    SAY("read %zd\n", n);
    return 5;
}
