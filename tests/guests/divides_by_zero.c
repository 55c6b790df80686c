// SIGFPE and SIGILL in children, as faults.
#include "guest.h"

int main(void) {
    pid_t child = fork();
    if (child == 0) {
        volatile int one = 1, zero = 0;
        _exit(one / zero);
    }
    guest_wait_for("divider", child);
    child = fork();
    if (child == 0) __builtin_trap();
    guest_wait_for("trapper", child);
    child = fork();
    if (child == 0) {
        int fd = open("short", O_RDWR | O_CREAT, 0600);
        char *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
        _exit(p[0]);
    }
    guest_wait_for("reader behind the end of a file", child);
    return 0;
}
