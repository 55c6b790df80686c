// RLIMIT_AS, RLIMIT_DATA and RLIMIT_STACK: refusals of mmap, brk, mremap and the growing stack; inherited by what is
// forked and executed; lifted again; set by another process.
#include "guest.h"
#include <sys/resource.h>

enum { kMiB = 1 << 20 };

static void limit(int which, long soft) {
    struct rlimit l;
    getrlimit(which, &l);
    l.rlim_cur = soft < 0 ? l.rlim_max : (rlim_t)soft;
    if (setrlimit(which, &l) != 0) SAY("setrlimit: %s\n", strerrorname_np(errno));
}

static const char *room(size_t bytes, int protection, int flags) {
    void *p = mmap(NULL, bytes, protection, flags | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return strerrorname_np(errno);
    munmap(p, bytes);
    return "works";
}

static void try_all(const char *what) {
    SAY("%s: private %s, shared %s, reserved %s", what, room(80 * kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE),
        room(80 * kMiB, PROT_READ | PROT_WRITE, MAP_SHARED), room(80 * kMiB, PROT_NONE, MAP_PRIVATE));
    void *heap = sbrk(80 * kMiB);
    SAY(", heap %s", heap == (void *)-1 ? strerrorname_np(errno) : "works");
    if (heap != (void *)-1) brk(heap);
    char *small = mmap(NULL, kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *big = mremap(small, kMiB, 80 * kMiB, MREMAP_MAYMOVE);
    SAY(", mremap %s\n", big == MAP_FAILED ? strerrorname_np(errno) : "works");
    munmap(big == MAP_FAILED ? small : big, big == MAP_FAILED ? kMiB : 80 * kMiB);
}

static int deeper(int left) {
    volatile char here[64 << 10];
    here[0] = left;
    return left ? deeper(left - 1) + here[0] : 0;
}

static void stack_of(const char *what, int kilobytes) {
    pid_t child = fork();
    if (child == 0) _exit(deeper(kilobytes / 64) < 0);
    SAY("%s, %d KiB: ", what, kilobytes);
    guest_wait_for("child", child);
}

int main(int argc, char **argv) {
    if (argc > 1) return try_all(argv[1]), 0;
    try_all("no limit");
    limit(RLIMIT_AS, 64 * kMiB), try_all("AS");
    pid_t child = fork();
    if (child == 0) try_all("AS of a child"), execl(argv[0], argv[0], "AS after exec", NULL), _exit(1);
    guest_wait_for("child", child);
    limit(RLIMIT_AS, -1), limit(RLIMIT_DATA, 64 * kMiB), try_all("DATA");
    limit(RLIMIT_DATA, -1), try_all("lifted");
    limit(RLIMIT_STACK, kMiB);
    stack_of("1 MiB of stack", 700), stack_of("1 MiB of stack", 1500);
    limit(RLIMIT_STACK, 4 * kMiB);
    stack_of("4 MiB", 3000), stack_of("4 MiB", 5000);
    int ready[2], go[2];
    pipe(ready), pipe(go);
    child = fork();
    if (child == 0) {
        char c = write(ready[1], "r", 1);
        read(go[0], &c, 1);
        try_all("AS set by the parent");
        _exit(0);
    }
    char c = read(ready[0], &c, 1);
    struct rlimit l = {64 * kMiB, 64 * kMiB}, old;
    TRY(prlimit(child, RLIMIT_AS, &l, &old));
    IS(old.rlim_cur == old.rlim_max);
    write(go[1], "g", 1);
    guest_wait_for("child", child);
    return 0;
}
