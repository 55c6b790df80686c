// Huge pages: asked for by mmap and memfd_create where there may be none; sizes that no machine has.
#include "guest.h"
#include <linux/memfd.h>

int main(void) {
    const size_t bytes = 4 << 20;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    SAY("private: %s\n", p == MAP_FAILED ? strerrorname_np(errno) : "works");
    p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | 30 << 26, -1, 0);
    SAY("a gigabyte each: %s\n", p == MAP_FAILED ? strerrorname_np(errno) : "works");
    p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 17 << 26, -1, 0);
    SAY("128 KiB each: %s\n", p == MAP_FAILED ? strerrorname_np(errno) : "works");
    int fd = memfd_create("huge", MFD_HUGETLB);
    SAY("a file of them: %s\n", fd < 0 ? strerrorname_np(errno) : "works");
    if (fd >= 0) {
        TRY(ftruncate(fd, bytes));
        p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        SAY("mapped: %s\n", p == MAP_FAILED ? strerrorname_np(errno) : "works");
    }
    SAY("goes on\n");
    return 0;
}
