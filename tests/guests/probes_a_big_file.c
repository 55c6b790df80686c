// A file of 20 GB, mapped and looked at in ten places (or as many as the first word says).
#include "guest.h"

int main(int argc, char **argv) {
    long probes = argc > 1 ? atol(argv[1]) : 10, step = 2L << 30;
    int fd = open("big", O_RDWR | O_CREAT, 0600);
    TRY(ftruncate(fd, 10 * step));
    for (long i = 0; i < 10; i++) pwrite(fd, &i, sizeof i, i * step + i * 4096);
    unlink("big");
    char *p = mmap(NULL, 10 * step, PROT_READ, MAP_PRIVATE, fd, 0);
    IS(p != MAP_FAILED);
    for (long i = 0; i < probes; i++) SAY("%ld: %ld\n", i, *(long *)(p + i * step + i * 4096));
    return 0;
}
