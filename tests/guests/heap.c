// The heap: brk up and down, malloc small and big, realloc, memory given back reads as zeroes.
#include "guest.h"

int main(void) {
    char *start = sbrk(0);
    IS(sbrk(3 << 20) == start);
    memset(start, 'b', 3 << 20);
    IS((char *)sbrk(0) == start + (3 << 20));
    IS(sbrk(-(1 << 20)) != (void *)-1);
    IS(brk(start) == 0);
    IS(sbrk(4096) == start && start[0] == 0);
    char *blocks[2000];
    unsigned long sum = 0;
    for (int i = 0; i < 2000; ++i) {
        blocks[i] = malloc(i * 37 + 1);
        memset(blocks[i], i, i * 37 + 1);
    }
    for (int i = 0; i < 2000; ++i) sum += blocks[i][i * 37];
    for (int i = 0; i < 2000; ++i) free(blocks[i]);
    SAY("%lu\n", sum);
    char *big = malloc(200 << 20);
    for (size_t i = 0; i < (200u << 20); i += 1 << 20) big[i] = i >> 20;
    big = realloc(big, 300 << 20);
    sum = 0;
    for (size_t i = 0; i < (200u << 20); i += 1 << 20) sum += (unsigned char)big[i];
    SAY("%lu\n", sum);
    free(big);
    char *area = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    area[5000] = 1;
    TRY(madvise(area, 1 << 20, MADV_DONTNEED));
    SAY("%d\n", area[5000]);
    area[5000] = 2;
    area = mremap(area, 1 << 20, 4 << 20, MREMAP_MAYMOVE);
    SAY("%d %d\n", area[5000], area[3 << 20]);
    TRY(munmap(area, 4 << 20));
    TRY(munmap(area + 1, 1));
    IS(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    return 0;
}
