// A file that grows and shrinks while it is mapped shared: behind its end there is SIGBUS, before it what it has.
#include "guest.h"
#include <setjmp.h>

static sigjmp_buf out;
static void bus_error(int signal) { (void)signal; siglongjmp(out, 1); }

static void look(const char *memory, size_t at) {
    volatile char c = 0;
    if (sigsetjmp(out, 1)) SAY("%zu: SIGBUS\n", at);
    else c = memory[at], SAY("%zu: %d\n", at, c);
}

int main(void) {
    signal(SIGBUS, bus_error);
    int fd = open("sizes", O_RDWR | O_CREAT | O_TRUNC, 0600);
    char *memory = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    look(memory, 0);
    TRY(ftruncate(fd, 100));
    look(memory, 0), look(memory, 4095), look(memory, 4096);
    memory[50] = 5;
    TRY(pwrite(fd, "seven", 5, 8192));
    look(memory, 50), look(memory, 8192), look(memory, 3 * 4096);
    memory[8193] = 9;
    TRY(ftruncate(fd, 8192));
    look(memory, 8191), look(memory, 8193);
    TRY(ftruncate(fd, 3 * 4096));
    look(memory, 8193);
    if (fork() == 0) {
        TRY(truncate("sizes", 10));
        _exit(0);
    }
    wait(NULL);
    look(memory, 50), look(memory, 4096);
    struct stat s;
    fstat(fd, &s);
    SAY("%ld bytes\n", (long)s.st_size);
    TRY(close(open("sizes", O_WRONLY | O_TRUNC)));
    look(memory, 0);
    return 0;
}
