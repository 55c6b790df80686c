// Buffers that end at an unmapped page, whole or in part: not a byte too many, and the kernel's short counts.
#include "guest.h"
#include <sys/uio.h>

static char *guarded;       // its first byte behind is not mapped

int main(void) {
    char *area = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(area + 2 * 4096, 4096);
    guarded = area + 2 * 4096;
    memset(area, 'g', 2 * 4096);
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    TRY(write(fd, guarded - 5, 5));
    TRY(write(fd, guarded - 5, 6));
    TRY(write(fd, guarded - 5, 8192));
    TRY(pread(fd, guarded - 5, 5, 0));
    TRY(pread(fd, guarded - 5, 10, 0));
    strcpy(guarded - 2, "f");
    TRY(access(guarded - 2, F_OK));
    guarded[-1] = 'x';
    TRY(access(guarded - 2, F_OK));
    struct stat *s = (void *)(guarded - sizeof *s);
    TRY(fstat(fd, s));
    TRY(fstat(fd, (struct stat *)((char *)s + 1)));
    struct iovec *parts = (void *)(guarded - 2 * sizeof *parts);
    parts[0] = (struct iovec){"ab", 2};
    parts[1] = (struct iovec){"cd", 2};
    TRY(writev(fd, parts, 2));
    TRY(writev(fd, parts, 3));
    mprotect(area, 4096, PROT_NONE);
    TRY(pread(fd, area + 4090, 12, 0));
    mprotect(area, 4096, PROT_READ);
    TRY(pread(fd, area, 5, 0));
    TRY(pwrite(fd, area, 5, 100));
    struct stat end;
    fstat(fd, &end);
    SAY("size %ld\n", (long)end.st_size);
    return 0;
}
