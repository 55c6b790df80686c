// RLIMIT_CPU: a signal each second from the soft limit on, death at the hard one; kept over exec, seen by children.
#include "guest.h"
#include <sys/resource.h>

static volatile sig_atomic_t hits;
static void handler(int number) { (void)number, ++hits; }

static void burn(void) {
    for (volatile long i = 0;; ++i) {}
}

int main(int count, char **words) {
    if (count > 1) burn();
    struct rlimit limit = {1, 2}, seen;
    pid_t child = fork();
    if (child == 0) {
        TRY(setrlimit(RLIMIT_CPU, &limit));
        getrlimit(RLIMIT_CPU, &seen);
        SAY("%ld %ld\n", (long)seen.rlim_cur, (long)seen.rlim_max);
        burn();
    }
    guest_wait_for("child", child);
    child = fork();
    if (child == 0) {
        signal(SIGXCPU, handler);
        setrlimit(RLIMIT_CPU, &limit);
        while (hits == 0)
            for (volatile int i = 0; i < 1000000; ++i) {}
        SAY("warned\n");
        burn();
    }
    guest_wait_for("child that goes on", child);
    child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CPU, &limit);
        execl(words[0], words[0], "burn", NULL);
    }
    guest_wait_for("program", child);
    return 0;
}
