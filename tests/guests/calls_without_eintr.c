// Signals by the thousand, to a handler that asks for no restart, into calls that never wait: none of them may be
// interrupted. (A signal can come at any instant between the call and its being noticed on the node.)
#include "guest.h"

static volatile sig_atomic_t hits;

static void count(int number) {
    (void)number;
    hits++;
}

static void every_us(int us) {
    struct itimerval t = {.it_interval = {0, us}, .it_value = {0, us}};
    setitimer(ITIMER_REAL, &t, NULL);
}

int main(void) {
    struct sigaction action = {.sa_handler = count};
    sigaction(SIGALRM, &action, NULL);
    int fd = open("file", O_RDWR | O_CREAT, 0600);
    pid_t parent = getppid();
    sigset_t none, old;
    sigemptyset(&none);
    long failed = 0, children = 0;
    every_us(2000);
    for (int i = 0; i < 1000 || hits < 100; i++) {
        struct stat st;
        if (syscall(SYS_getppid) != parent) failed++;
        if (lseek(fd, i, SEEK_SET) != i) failed++;
        if (fstat(fd, &st) != 0) failed++;
        if (sigprocmask(SIG_BLOCK, &none, &old) != 0) failed++;
        if (fcntl(fd, F_GETFD) != 0) failed++;
        if (i % 100 == 0) {
            pid_t child = fork();
            if (child == 0) _exit(0);
            if (child < 0) failed++;
            int status;
            while (waitpid(child, &status, 0) == -1 && errno == EINTR) {}
            children += status == 0;
        }
    }
    every_us(0);
    SAY("%ld failed, %s\n", failed, children >= 10 ? "children came and went" : "children are missing");
    return 0;
}
