// Calls on memory that the guest's kernel runs by itself: protections, advice, mincore, futex, membarrier, rseq-free.
#include "guest.h"
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/uio.h>

int main(void) {
    char *p = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    p[0] = 1;
    unsigned char present[16];
    TRY(mincore(p, 16 * 4096, present));
    SAY("%d %d\n", present[0] & 1, present[5] & 1);
    TRY(mprotect(p + 4096, 4096, PROT_NONE));
    TRY(mprotect(p + 1, 4096, PROT_NONE));
    TRY(madvise(p, 4096, 12345));
    TRY(msync(p, 4096, MS_SYNC));
    int word = 5;
    struct timespec shortly = {0, 10000000};
    TRY(syscall(SYS_futex, &word, FUTEX_WAIT, 4, NULL));
    TRY(syscall(SYS_futex, &word, FUTEX_WAIT, 5, &shortly));
    TRY(syscall(SYS_futex, &word, FUTEX_WAKE, 1));
    TRY(syscall(SYS_futex, (void *)1, FUTEX_WAKE, 1));
    TRY(sched_yield());
    WORKS(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0));
    char *fixed = mmap(p + 8 * 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    SAY("no replacing: %s\n", fixed == MAP_FAILED ? strerrorname_np(errno) : "replaced");
    fixed = mmap(p + 8 * 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    IS(fixed == p + 8 * 4096);
    char *grown = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
    IS(grown != MAP_FAILED);
    IS(mmap(NULL, 1ul << 50, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    char from[] = "read without a fault", to[sizeof from];
    struct iovec local = {to, sizeof to}, remote = {from, sizeof from}, nowhere = {(void *)8, 8};
    TRY(process_vm_readv(getpid(), &local, 1, &remote, 1, 0));
    IS(memcmp(from, to, sizeof to) == 0);
    TRY(process_vm_readv(getpid(), &local, 1, &nowhere, 1, 0));
    TRY(process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
    void *list;
    size_t size;
    TRY(syscall(SYS_get_robust_list, gettid(), &list, &size));
    return 0;
}
