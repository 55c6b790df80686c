// For cases with signals from outside: says that it is ready, then blocks (in a read of stdin) or computes.
#include "guest.h"

// dprintf is no function for signal handlers: interrupted itself, it may print twice.
static void on_usr1(int number) { (void)number, write(1, "USR1\n", 5); }
static void on_usr2(int number) { (void)number, write(1, "USR2\n", 5), _exit(12); }

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
