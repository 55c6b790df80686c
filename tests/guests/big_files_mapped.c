// A 20 GB file with a few words in it is mapped and touched here and there: by loads, by system calls, after fork,
// vfork and mremap, and while it changes.
#include "guest.h"
#include <setjmp.h>
#include <sys/file.h>
#include <sys/uio.h>

enum { PROBES = 10, TAIL = 100 };
#define GIB (1L << 30)
#define AT(i) ((i) * 2 * GIB + (i) * 12345)
#define BYTES (20 * GIB + TAIL)

static sigjmp_buf back;
static void on_bus(int signal) { (void)signal; siglongjmp(back, 1); }

static char touch(const volatile char *p) {
    if (sigsetjmp(back, 1)) return '!';
    return *p;
}

int main(void) {
    signal(SIGBUS, on_bus);
    int fd = open("big", O_RDWR | O_CREAT, 0600);
    TRY(ftruncate(fd, BYTES));
    for (int i = 0; i < PROBES; i++) {
        char word[16];
        snprintf(word, sizeof word, "word %d\n", i);
        pwrite(fd, word, 7, AT(i));
    }
    pwrite(fd, "end", 3, BYTES - 3);
    TRY(unlink("big"));
    char *p = mmap(NULL, 21 * GIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    IS(p != MAP_FAILED);
    for (int i = 0; i < PROBES; i++) SAY("%d: %.6s, before it %d\n", i, p + AT(i), i ? p[AT(i) - 1] : 0);
    SAY("its last bytes: %.3s, behind them %d\n", p + BYTES - 3, p[BYTES]);
    SAY("behind its last page: %c\n", touch(p + 20 * GIB + 4096));

    // The kernel reads and writes where nobody has been.
    TRY(write(1, p + AT(3) + 100000, 3));
    struct iovec parts[] = {{p + AT(5), 7}, {p + AT(6) + 300000, 2}, {p + AT(7), 7}};
    TRY(writev(1, parts, 3));
    int zero = open("/dev/zero", O_RDONLY);
    p[AT(1)] = 'W';
    TRY(read(zero, p + AT(2) + 500000, 4096));
    TRY(write(1, p + 20 * GIB + 8192, 1));               // nothing is there
    TRY(access(p + AT(8) + 900000, F_OK));               // an empty name

    pid_t child = fork();
    if (child == 0) {
        SAY("a child sees %.6s, %.6s\n", p + AT(1), p + AT(4));
        for (int i = 1; i < PROBES; i++) SAY("%d", p[AT(i) + 2000000]);
        p[AT(9) + 5] = 'C';
        TRY(write(1, p + AT(9), 7));
        TRY(write(1, p + AT(9) + 3000000, 1));
        SAY("behind the end %c\n", touch(p + 20 * GIB + 4096));
        pid_t grandchild = fork();
        if (grandchild == 0) {
            SAY("a grandchild sees %.6s, %d\n", p + AT(9), p[AT(7) + 4000000]);
            _exit(0);
        }
        guest_wait_for("grandchild", grandchild);
        execl("/bin/echo", "echo", p + AT(4), NULL);
    }
    guest_wait_for("child", child);
    SAY("the parent has %.6s\n", p + AT(9));
    child = vfork();
    if (child == 0) {
        SAY("in a vfork: %d\n", p[AT(8) + 5000000]);
        _exit(0);
    }
    guest_wait_for("child", child);

    // Moved, cut, dropped and forbidden.
    char *moved = mremap(p, 21 * GIB, 22 * GIB, MREMAP_MAYMOVE);
    IS(moved != MAP_FAILED);
    SAY("moved: %.6s, %d\n", moved + AT(1), moved[AT(2) + 6000000]);
    TRY(munmap(moved + AT(3) / 4096 * 4096, 4096));
    SAY("cut: %d, %d\n", moved[AT(3) - 7000000], moved[AT(3) + 7000000]);
    TRY(madvise(moved, 4 * GIB, MADV_DONTNEED));
    SAY("dropped: %.6s\n", moved + AT(1));
    TRY(mprotect(moved, 4 * GIB, PROT_READ));
    SAY("read only: %d\n", moved[AT(1) + 8000000]);
    TRY(write(1, moved + AT(1) + 9000000, 1));

    // Changed while it is mapped: who looks for the first time sees what is there now.
    TRY(pwrite(fd, "now", 3, AT(4) + 10000000));
    SAY("written: %.3s\n", moved + AT(4) + 10000000);
    TRY(ftruncate(fd, AT(5)));
    SAY("cut short: %c\n", touch(moved + AT(6) + 10000000));
    TRY(write(1, moved + AT(7) + 10000000, 1));
    TRY(close(fd));
    SAY("closed: %d\n", moved[AT(2) + 10000000]);

    // A mapping keeps its file open, and nothing else does.
    fd = open("locked", O_RDWR | O_CREAT, 0600);
    TRY(ftruncate(fd, BYTES));
    TRY(flock(fd, LOCK_EX));
    p = mmap(NULL, BYTES, PROT_READ, MAP_PRIVATE, fd, 0);
    SAY("locked: %d\n", p[AT(2)]);
    TRY(close(fd));
    fd = open("locked", O_RDWR);
    TRY(unlink("locked"));
    TRY(flock(fd, LOCK_EX | LOCK_NB));
    TRY(munmap(p, 10 * GIB));
    TRY(flock(fd, LOCK_EX | LOCK_NB));
    TRY(munmap(p + 10 * GIB, BYTES - 10 * GIB));
    TRY(flock(fd, LOCK_EX | LOCK_NB));
    return 0;
}
