// What the benchmarks run natively, at home and away: guest_work WHAT …, one JSON line on standard output.
//   feed                   bytes i % 251 to standard output for ever (runs outside the job)
//   read1 N                N one-byte reads of standard input, each checked
//   openclose N FILE       N times open and close
//   local N                N times madvise, gettid, clock_gettime
//   spin N                 N million steps of arithmetic
//   bigread FILE           reads it in 1 MiB pieces, checks their sum
//   bigwrite FILE MIB      writes it in 1 MiB pieces, as a new file
//   bigrewrite FILE MIB    the same over what is there
//   maptouch FILE          maps it privately, touches every page, checks their sum
//   elapsed N COMMAND…     runs it N times: how long each took, with pauses (runs outside the job)
//   shared N FILES PAGES   N calls without, then with so many files (./shared.*) of so many pages each mapped shared
//   block                  one read of standard input, however long it takes
#define _GNU_SOURCE
#include "times.h"
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int feed(void) {
    static unsigned char b[251 * 16];
    for (size_t i = 0; i < sizeof b; i++) b[i] = i % 251;
    while (write(1, b, sizeof b) == (ssize_t)sizeof b) {}
    return 0;
}
static int read1(int n) {
    int64_t *ns = malloc((size_t)n * sizeof *ns);
    unsigned char b;
    for (int i = -500; i < n; i++) {
        int64_t t = now_ns();
        if (read(0, &b, 1) != 1 || b != (i + 500) % 251) return 2;
        if (i >= 0) ns[i] = now_ns() - t;
    }
    return report(ns, n);
}
static int openclose(int n, const char *path) {
    int64_t *ns = malloc((size_t)n * sizeof *ns);
    for (int i = 0; i < n; i++) {
        int64_t t = now_ns();
        int fd = open(path, O_RDONLY);
        if (fd < 0 || close(fd) != 0) return 2;
        ns[i] = (now_ns() - t) / 2;
    }
    return report(ns, n);
}
static double call_us(int n) {
    int64_t *ns = malloc((size_t)n * sizeof *ns);
    for (int i = -500; i < n; i++) {
        int64_t t = now_ns();
        if (umask(022) != 022) return -1;
        if (i >= 0) ns[i] = now_ns() - t;
    }
    qsort(ns, (size_t)n, sizeof *ns, ascending);
    double us = ns[n / 2] / 1e3;
    free(ns);
    return us;
}
static int shared(int n, int files, int pages) {
    umask(022);
    double without = call_us(n);
    for (int i = 0; i < files; i++) {
        char name[32];
        snprintf(name, sizeof name, "shared.%d", i);
        int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (fd < 0 || ftruncate(fd, pages * 4096L) != 0) return 2;
        char *m = mmap(0, (size_t)pages * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (m == MAP_FAILED || close(fd) != 0 || unlink(name) != 0) return 2;
        m[0] = 1;
    }
    double with = call_us(n);
    printf("{\"without_us\": %.3f, \"with_us\": %.3f}\n", without, with);
    return 0;
}
static int local(int n) {
    char *m = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    m[0] = 1;
    double per[3];
    int64_t t = now_ns();
    for (int i = 0; i < n; i++) madvise(m, 4096, MADV_NORMAL);
    per[0] = (double)(now_ns() - t) / n, t = now_ns();
    for (int i = 0; i < n; i++) syscall(SYS_gettid);
    per[1] = (double)(now_ns() - t) / n, t = now_ns();
    for (int i = 0; i < n; i++) now_ns();
    per[2] = (double)(now_ns() - t) / n;
    printf("{\"madvise_ns\": %.1f, \"gettid_ns\": %.1f, \"clock_gettime_ns\": %.1f}\n", per[0], per[1], per[2]);
    return 0;
}
static int spin(long millions) {
    uint64_t x = 88172645463325252ULL;
    int64_t t = now_ns();
    for (long i = 0; i < millions * 1000000; i++) x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    printf("{\"seconds\": %.4f, \"check\": %lu}\n", (now_ns() - t) / 1e9, (unsigned long)(x & 0xffff));
    return 0;
}
static int big(const char *path, int mib, int writing, int flags) {
    char *piece = malloc(1 << 20);
    memset(piece, 7, 1 << 20);
    int fd = open(path, flags, 0600);
    int64_t t = now_ns(), bytes = 0;
    for (int i = 0; writing ? i < mib : 1; i++) {
        ssize_t n = writing ? write(fd, piece, 1 << 20) : read(fd, piece, 1 << 20);
        if (n < 0 || (writing && n != 1 << 20)) return 2;
        if (n == 0) break;
        if (piece[0] != 7 || piece[n - 1] != 7) return 3;
        bytes += n;
    }
    double s = (now_ns() - t) / 1e9;
    printf("{\"mb_s\": %.1f, \"bytes\": %ld}\n", bytes / s / 1e6, (long)bytes);
    return close(fd);
}
static int maptouch(const char *path) {
    int fd = open(path, O_RDONLY);
    int64_t bytes = lseek(fd, 0, SEEK_END), sum = 0, t = now_ns();
    const unsigned char *p = mmap(0, (size_t)bytes, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) return 2;
    for (int64_t i = 0; i < bytes; i += 4096) sum += p[i];
    printf("{\"ms\": %.3f, \"sum\": %ld}\n", (now_ns() - t) / 1e6, (long)sum);
    return 0;
}
static int elapsed(int n, char **command) {
    int64_t *ns = malloc((size_t)n * sizeof *ns);
    for (int i = 0; i < n; i++) {
        int64_t t = now_ns();
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            execv(command[0], command);
            _exit(127);
        }
        if (waitpid(pid, &status, 0) != pid || status != 0) return 2;
        ns[i] = now_ns() - t;
        usleep(300000);     // not waiting for an event: the next job comes some time after this one
    }
    return report(ns, n);
}
int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "feed")) return feed();
    if (!strcmp(what, "read1") && argc > 2) return read1(atoi(argv[2]));
    if (!strcmp(what, "openclose") && argc > 3) return openclose(atoi(argv[2]), argv[3]);
    if (!strcmp(what, "local") && argc > 2) return local(atoi(argv[2]));
    if (!strcmp(what, "spin") && argc > 2) return spin(atol(argv[2]));
    if (!strcmp(what, "shared") && argc > 4) return shared(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
    if (!strcmp(what, "bigread") && argc > 2) return big(argv[2], 0, 0, O_RDONLY);
    if (!strcmp(what, "bigwrite") && argc > 3)
        return big(argv[2], atoi(argv[3]), 1, O_WRONLY | O_CREAT | O_TRUNC);
    if (!strcmp(what, "bigrewrite") && argc > 3) return big(argv[2], atoi(argv[3]), 1, O_WRONLY);
    if (!strcmp(what, "maptouch") && argc > 2) return maptouch(argv[2]);
    if (!strcmp(what, "elapsed") && argc > 3) return elapsed(atoi(argv[2]), argv + 3);
    if (!strcmp(what, "block")) { char c; return read(0, &c, 1) < 0; }
    fprintf(stderr, "usage: see the source\n");
    return 2;
}
