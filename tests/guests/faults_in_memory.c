// What a handler hears of a fault: signal, code and address, in guard pages, read-only and unmapped memory, behind a
// file's end; memory that grows down; the heap against a mapping.
#include "guest.h"
#include <setjmp.h>

enum { kPage = 4096 };
static sigjmp_buf back;
static volatile char *fault;

static void on_fault(int number, siginfo_t *info, void *context) {
    (void)context;
    SAY("SIG%s code %d at the place %s\n", sigabbrev_np(number), info->si_code, info->si_addr == fault ? "yes" : "no");
    siglongjmp(back, 1);
}

static void touch(const char *what, char *at, int store) {
    SAY("%s: ", what);
    fault = at;
    if (sigsetjmp(back, 1)) return;
    if (store) *fault = 1;
    SAY("%d\n", *fault);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL), sigaction(SIGBUS, &action, NULL);
    char *p = mmap(NULL, 16 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(p + kPage, kPage, PROT_NONE), mprotect(p + 2 * kPage, kPage, PROT_READ), munmap(p + 3 * kPage, kPage);
    touch("guard", p + kPage + 7, 0), touch("read-only read", p + 2 * kPage, 0), touch("written", p + 2 * kPage, 1);
    touch("unmapped", p + 3 * kPage + 1, 1), touch("null", NULL, 0), touch("no address", (char *)(1ul << 60), 0);
    mprotect(p + 2 * kPage, kPage, PROT_READ | PROT_WRITE), touch("writable again", p + 2 * kPage, 1);
    mprotect(p + 4 * kPage, kPage, PROT_EXEC), touch("executable, written", p + 4 * kPage, 1);
    TRY(mprotect(p + 2 * kPage, 2 * kPage, PROT_READ));
    touch("as far as it went", p + 2 * kPage, 1);

    int fd = open("f", O_RDWR | O_CREAT, 0600);
    write(fd, "end", 3);
    char *file = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    touch("rest of the last page", file + 100, 1), touch("behind the file", file + kPage, 0);
    int read_only = open("f", O_RDONLY);
    file = mmap(NULL, kPage, PROT_READ, MAP_PRIVATE, read_only, 0);
    TRY(mprotect(file, kPage, PROT_READ | PROT_WRITE));
    touch("private page of a read-only file", file + 1, 1);

    munmap(p + 5 * kPage, 11 * kPage);
    char *down = mmap(NULL, 300 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(down, 300 * kPage);
    mmap(down + 298 * kPage, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1,
         0);
    touch("grows down by one", down + 298 * kPage - 1, 1), touch("by more", down + 290 * kPage, 1);
    touch("into the gap", down + 100 * kPage, 1);

    char *end = sbrk(0);
    end += -(uintptr_t)end % kPage;
    IS(mmap(end + 4 * kPage, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != MAP_FAILED);
    IS(sbrk(3 * kPage) != (void *)-1);
    IS(sbrk(3 * kPage) == (void *)-1);
    SAY("%s\n", strerrorname_np(errno));
    return 0;
}
