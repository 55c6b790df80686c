// 20,000 small calls of different kinds: nothing gets lost, mixed up or slower and slower.
#include "guest.h"

int main(void) {
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    long sum = 0;
    for (int i = 0; i < 4000; ++i) {
        int value = i * i, back = 0;
        pwrite(fd, &value, sizeof value, i % 100 * 4);
        pread(fd, &back, sizeof back, i % 100 * 4);
        struct stat s;
        fstat(fd, &s);
        sum += back - value + s.st_size + (getppid() > 0) + lseek(fd, i, SEEK_SET);
    }
    SAY("%ld\n", sum);
    return 0;
}
