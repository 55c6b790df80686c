// Maps a big read-only file, shared and private, as readers of locale archives and libraries do.
#include "guest.h"
#include <sys/stat.h>

static unsigned long sum_of(const unsigned char *p, size_t n) {
    unsigned long sum = 0;
    for (size_t i = 0; i < n; ++i) sum = sum * 31 + p[i];
    return sum;
}

int main(void) {
    int fd = open("/lib/x86_64-linux-gnu/libc.so.6", O_RDONLY);
    struct stat s;
    fstat(fd, &s);
    unsigned char *shared = mmap(NULL, s.st_size, PROT_READ, MAP_SHARED, fd, 0);
    unsigned char *private = mmap(NULL, s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    unsigned char *copy = malloc(s.st_size);
    IS(pread(fd, copy, s.st_size, 0) == s.st_size);
    IS(shared != MAP_FAILED && private != MAP_FAILED);
    IS(sum_of(shared, s.st_size) == sum_of(copy, s.st_size));
    IS(memcmp(shared, private, s.st_size) == 0);
    return 0;
}
