// A pseudo terminal: size, modes, line editing, foreground group, hang-up.
#include "guest.h"
#include <sys/ioctl.h>
#include <termios.h>

int main(void) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0) return 77;
    TRY(grantpt(master));
    TRY(unlockpt(master));
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    struct winsize size = {40, 100, 0, 0}, got;
    TRY(ioctl(master, TIOCSWINSZ, &size));
    TRY(ioctl(slave, TIOCGWINSZ, &got));
    SAY("%d rows %d columns, terminal %d\n", got.ws_row, got.ws_col, isatty(slave));
    char text[100] = {0};
    write(master, "lixne\b\b\bne\nrest", 14);
    TRY(read(slave, text, sizeof text));
    struct termios modes;
    TRY(tcgetattr(slave, &modes));
    IS((modes.c_lflag & ICANON) != 0);
    cfmakeraw(&modes);
    TRY(tcsetattr(slave, TCSANOW, &modes));
    write(master, "raw", 3);
    memset(text, 0, sizeof text);
    guest_sleep_ms(10);
    IS(read(slave, text, sizeof text) > 0);
    pid_t child = fork();
    if (child == 0) {
        setsid();
        TRY(ioctl(slave, TIOCSCTTY, 0));
        IS(tcgetpgrp(slave) == getpid());
        close(master);
        int tty = TRY(open("/dev/tty", O_RDWR));
        TRY(tcsetpgrp(tty, getpid()));
        for (;;) pause();
    }
    guest_sleep_ms(100);
    close(slave);
    close(master);                                   // hangs up: the child dies of it
    guest_wait_for("child", child);
    return 0;
}
