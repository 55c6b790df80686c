// A pipe between parent and child: order, end of file, capacity, O_NONBLOCK, packets.
#include "guest.h"
#include <sys/ioctl.h>

int main(void) {
    int down[2], up[2];
    TRY(pipe(down));
    TRY(pipe2(up, O_CLOEXEC));
    pid_t child = fork();
    if (child == 0) {
        close(down[1]), close(up[0]);
        long sum = 0, count = 0;
        unsigned char buffer[1000];
        for (ssize_t n; (n = read(down[0], buffer, sizeof buffer)) > 0; count += n)
            for (ssize_t i = 0; i < n; ++i) sum += buffer[i];
        dprintf(up[1], "%ld bytes, sum %ld", count, sum);
        _exit(0);
    }
    close(down[0]), close(up[1]);
    unsigned char data[300000];
    for (size_t i = 0; i < sizeof data; ++i) data[i] = i * 7;
    TRY(write(down[1], data, sizeof data));           // more than a pipe holds
    close(down[1]);
    char answer[100] = {0};
    read(up[0], answer, sizeof answer);
    SAY("%s\n", answer);
    TRY(read(up[0], answer, sizeof answer));
    guest_wait_for("child", child);
    int fds[2];
    TRY(pipe2(fds, O_NONBLOCK));
    TRY(read(fds[0], answer, 1));
    TRY(fcntl(fds[0], F_GETPIPE_SZ));
    TRY(write(fds[1], data, sizeof data));
    int waiting;
    TRY(ioctl(fds[0], FIONREAD, &waiting));
    SAY("%d waiting\n", waiting);
    TRY(write(fds[1], data, 1));
    TRY(lseek(fds[0], 0, SEEK_SET));
    return 0;
}
