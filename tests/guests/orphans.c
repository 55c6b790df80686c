// A child whose parent ends gets another parent, is told so by a signal if it asked, and lives on.
#include "guest.h"
#include <sys/prctl.h>

static volatile sig_atomic_t told;
static void on_death(int number) { told = number; }

int main(void) {
    int ends[2];
    pipe(ends);
    pid_t middle = fork();
    if (middle == 0) {
        int ready[2];
        pipe(ready);
        if (fork() == 0) {
            pid_t before = getppid();
            signal(SIGUSR1, on_death);
            prctl(PR_SET_PDEATHSIG, SIGUSR1);
            write(ready[1], "x", 1);
            for (int i = 0; i < 500 && (!told || getppid() == before); ++i) guest_sleep_ms(10);
            dprintf(ends[1], "other parent %d, told %d", getppid() != before, told == SIGUSR1);
            _exit(0);
        }
        char c;
        read(ready[0], &c, 1);
        _exit(0);
    }
    guest_wait_for("middle", middle);
    close(ends[1]);
    char text[100] = {0};
    while (read(ends[0], text + strlen(text), 99 - strlen(text)) > 0) {}
    SAY("%s\n", text);
    return 0;
}
