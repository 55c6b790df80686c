// F_SETLKW waits until the other process lets go, and is interrupted by a signal if it must be.
#include "guest.h"

static void nothing(int number) { (void)number; }

int main(void) {
    int ready[2];
    pipe(ready);
    pid_t holder = fork();
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    if (holder == 0) {
        fcntl(fd, F_SETLK, &all);
        write(ready[1], "x", 1);
        guest_sleep_ms(250);
        _exit(0);
    }
    char c;
    read(ready[0], &c, 1);
    struct sigaction action = {.sa_handler = nothing};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval soon = {.it_value = {0, 60000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    TRY(fcntl(fd, F_SETLKW, &all));
    TRY(fcntl(fd, F_SETLKW, &all));
    guest_wait_for("holder", holder);
    return 0;
}
