// A named pipe: opening waits for the other side; O_NONBLOCK doesn't.
#include "guest.h"

int main(void) {
    TRY(mkfifo("fifo", 0600));
    TRY(mkfifo("fifo", 0600));
    TRY(open("fifo", O_WRONLY | O_NONBLOCK));
    int waiting = TRY(open("fifo", O_RDONLY | O_NONBLOCK));
    char text[100] = {0};
    TRY(read(waiting, text, sizeof text));
    close(waiting);
    pid_t child = fork();
    if (child == 0) {
        guest_sleep_ms(50);
        int fd = open("fifo", O_WRONLY);
        write(fd, "through a name", 14);
        _exit(0);
    }
    int fd = open("fifo", O_RDONLY);
    TRY(read(fd, text, sizeof text));
    SAY("[%s]\n", text);
    TRY(read(fd, text, sizeof text));
    guest_wait_for("child", child);
    return 0;
}
