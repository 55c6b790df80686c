// One call moves 1 MiB, 8 MiB; vectors; every byte arrives where it belongs.
#include "guest.h"
#include <sys/uio.h>

static unsigned sum(const unsigned char *p, size_t n) {
    unsigned a = 1, b = 0;
    for (size_t i = 0; i < n; ++i) a = (a + p[i]) % 65521, b = (b + a) % 65521;
    return b << 16 | a;
}

int main(void) {
    size_t size = 8 << 20;
    unsigned char *out = malloc(size), *in = calloc(1, size);
    unsigned x = 1;
    for (size_t i = 0; i < size; ++i) out[i] = (x = x * 1103515245 + 12345) >> 16;
    int fd = open("big", O_RDWR | O_CREAT | O_TRUNC, 0600);
    TRY(write(fd, out, 1 << 20));
    TRY(pwrite(fd, out, size, 0));
    TRY(pread(fd, in, size, 0));
    SAY("%08x %08x\n", sum(out, size), sum(in, size));
    TRY(pread(fd, in, size, size - 1000));
    struct iovec parts[5] = {{out, 1}, {out + 100, 0}, {out + 7, 65536}, {NULL, 0}, {out + 1000000, 3000001}};
    TRY(lseek(fd, 0, SEEK_SET));
    TRY(writev(fd, parts, 5));
    TRY(lseek(fd, 0, SEEK_CUR));
    memset(in, 0, size);
    struct iovec back[3] = {{in, 10}, {in + 100, 3000000}, {in + 5000000, 65528}};
    TRY(preadv(fd, back, 3, 0));
    SAY("%08x\n", sum(in, size));
    TRY(pwritev(fd, back, 3, 12345));
    TRY(preadv2(fd, back, 3, 12345, RWF_HIPRI));
    SAY("%08x\n", sum(in, size));
    TRY(writev(fd, parts, -1));
    TRY(writev(fd, parts, 2000));
    TRY(read(fd, in, 0));
    return 0;
}
