// Sealed memory and sealed files: mseal, memfd_create and what its seals forbid, keys of protection, membarrier's offers.
#include "guest.h"
#include <linux/membarrier.h>

#define SYS_MSEAL 462
enum { kPage = 4096 };

int main(void) {
    char *p = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (TRY(syscall(SYS_MSEAL, p, 2 * kPage, 0)) == 0) {          // since Linux 6.10
        TRY(munmap(p, kPage));
        TRY(mprotect(p, kPage, PROT_READ));
        IS(mremap(p, kPage, 9 * kPage, MREMAP_MAYMOVE) == MAP_FAILED);
        TRY(munmap(p + 2 * kPage, 2 * kPage));
        TRY(syscall(SYS_MSEAL, p, 2 * kPage, 1));
    }
    int fd = memfd_create("name", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    TRY(ftruncate(fd, kPage));
    TRY(write(fd, "content", 7));
    TRY(fcntl(fd, F_GET_SEALS));
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
    TRY(fcntl(fd, F_GET_SEALS));
    TRY(ftruncate(fd, 2 * kPage));
    TRY(pwrite(fd, "other", 5, 0));
    WORKS(mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    char *private = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    private[0] = 'C';
    SAY("%s\n", private);
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
    int plain = memfd_create("plain", 0);
    TRY(fcntl(plain, F_ADD_SEALS, F_SEAL_WRITE));
    TRY(memfd_create("wrong", 0x8000));
    int key = pkey_alloc(0, 0);
    SAY("a key: %s\n", key < 0 ? strerrorname_np(errno) : "works");
    TRY(pkey_mprotect(p + kPage, kPage, PROT_READ, -1));
    TRY(pkey_mprotect(private, kPage, PROT_READ, 14));
    TRY(pkey_free(14));
    TRY(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0));
    TRY(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0));
    TRY(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0));
    TRY(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0));
    TRY(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0));
    TRY(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0));
    TRY(syscall(SYS_membarrier, 12345, 0));
    return 0;
}
