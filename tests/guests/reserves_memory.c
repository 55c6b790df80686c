// A terabyte without reservation, as runtimes have it: sparsely touched, cut, protected, given back. Fixed places.
#include "guest.h"

int main(void) {
    const size_t tera = 1ul << 40, giga = 1ul << 30;
    char *p = mmap(NULL, tera, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    IS(p != MAP_FAILED);
    for (size_t at = 0; at < tera; at += 100 * giga) {
        mprotect(p + at, giga, PROT_READ | PROT_WRITE);
        p[at + giga / 2] = 1 + at / (100 * giga);
    }
    long sum = 0;
    for (size_t at = 0; at < tera; at += 100 * giga) sum += p[at + giga / 2];
    SAY("%ld\n", sum);
    TRY(madvise(p, giga, MADV_DONTNEED));
    SAY("%d\n", p[giga / 2]);
    pid_t child = fork();
    if (child == 0) _exit(p[300 * giga + giga / 2]);
    guest_wait_for("child", child);
    TRY(munmap(p + giga, tera / 2));
    const int here = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    IS(mmap(p + 2 * giga, giga, PROT_READ | PROT_WRITE, here, -1, 0) == p + 2 * giga);
    char *taken = mmap(p, 4096, PROT_READ, here, -1, 0);
    SAY("taken: %s\n", taken == MAP_FAILED ? strerrorname_np(errno) : "replaced");
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    write(fd, "file", 4);
    taken = mmap(p, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, 0);
    SAY("file where memory is: %s\n", taken == MAP_FAILED ? strerrorname_np(errno) : "replaced");
    IS(mmap(p + 4 * giga, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == p + 4 * giga && p[4 * giga] == 'f');
    IS(mmap(p, tera, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == p);
    p[tera - 1] = 'z';
    TRY(madvise(p + tera - giga, giga, MADV_REMOVE));
    SAY("%d\n", p[tera - 1]);
    TRY(munmap(p, tera));
    IS(mmap(NULL, 1ul << 47, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED);
    SAY("%s\n", strerrorname_np(errno));
    char *low = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    IS((uintptr_t)low < 1ul << 31);
    IS(mmap((void *)4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED);
    return 0;
}
