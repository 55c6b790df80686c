// exit_group from a thread ends all others, whatever they do; a fatal signal to one ends all.
#include "guest.h"

static void *busy(void *unused) {
    (void)unused;
    for (volatile long i = 0;; ++i) {}
}
static void *blocked(void *unused) {
    (void)unused;
    int ends[2];
    char c;
    pipe(ends);
    read(ends[0], &c, 1);
    return NULL;
}
static void *leaver(void *status) {
    guest_sleep_ms(30);
    if (status) exit(33);
    syscall(SYS_tgkill, getpid(), getpid(), SIGTERM);
    return NULL;
}

static void try(const char *what, void *status) {
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, busy, NULL);
        pthread_create(&thread, NULL, blocked, NULL);
        pthread_create(&thread, NULL, leaver, status);
        blocked(NULL);
    }
    guest_wait_for(what, child);
}

int main(void) {
    try("process left by exit", "");
    try("process hit by a signal", NULL);
    return 0;
}
