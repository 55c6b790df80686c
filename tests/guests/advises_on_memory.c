// madvise in all kinds, on private, shared and file memory: results, what is there afterwards, what a child gets.
#include "guest.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
enum { kPage = 4096, kPages = 8 };

static const struct { int number; const char *name; } advice[] = {
    {MADV_NORMAL, "NORMAL"}, {MADV_RANDOM, "RANDOM"}, {MADV_SEQUENTIAL, "SEQUENTIAL"}, {MADV_WILLNEED, "WILLNEED"},
    {MADV_POPULATE_READ, "POPULATE_READ"}, {MADV_POPULATE_WRITE, "POPULATE_WRITE"}, {MADV_COLD, "COLD"},
    {MADV_PAGEOUT, "PAGEOUT"}, {MADV_HUGEPAGE, "HUGEPAGE"}, {MADV_NOHUGEPAGE, "NOHUGEPAGE"},
    {MADV_MERGEABLE, "MERGEABLE"}, {MADV_UNMERGEABLE, "UNMERGEABLE"}, {MADV_DONTDUMP, "DONTDUMP"},
    {MADV_DODUMP, "DODUMP"}, {MADV_DONTFORK, "DONTFORK"}, {MADV_DOFORK, "DOFORK"}, {MADV_WIPEONFORK, "WIPEONFORK"},
    {MADV_KEEPONFORK, "KEEPONFORK"}, {MADV_COLLAPSE, "COLLAPSE"}, {MADV_FREE, "FREE"}, {MADV_REMOVE, "REMOVE"},
    {MADV_DONTNEED, "DONTNEED"}, {MADV_DONTNEED_LOCKED, "DONTNEED_LOCKED"}, {77, "77"}};

static void all(const char *what, char *p) {
    for (size_t i = 0; i < sizeof advice / sizeof *advice; ++i) {
        p[0] = 'x';
        long result = madvise(p, kPages * kPage, advice[i].number);
        SAY("%s %s: %s\n", what, advice[i].name, result ? strerrorname_np(errno) : "works");
        if (advice[i].number != MADV_FREE) SAY("then %c\n", p[0] ? p[0] : '0');
    }
}

int main(void) {
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < kPages * kPage; ++i) write(fd, "f", 1);
    char *plain = mmap(NULL, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    all("private", plain);
    all("shared", mmap(NULL, kPages * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    all("file", mmap(NULL, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    memset(plain, 'p', kPages * kPage);
    TRY(madvise(plain, kPage, MADV_DONTFORK));
    TRY(madvise(plain + kPage, kPage, MADV_WIPEONFORK));
    pid_t child = fork();
    if (child == 0) {
        unsigned char present;
        TRY(mincore(plain, kPage, &present));
        SAY("child: %d %c\n", plain[kPage], plain[2 * kPage]);
        _exit(0);
    }
    guest_wait_for("child", child);
    munmap(plain + 2 * kPage, kPage);
    TRY(madvise(plain, kPages * kPage, MADV_DONTNEED));
    SAY("beside the hole: %d %d\n", plain[0], plain[3 * kPage]);
    TRY(madvise(plain + 1, kPage, MADV_DONTNEED));
    TRY(madvise(plain, 0, MADV_DONTNEED));
    if (madvise(plain, kPage, MADV_GUARD_INSTALL) == 0) {           // since Linux 6.13
        child = fork();
        if (child == 0) _exit(plain[5]);
        guest_wait_for("who touches a guard", child);
        TRY(madvise(plain, kPage, MADV_GUARD_REMOVE));
        SAY("%d\n", plain[5]);
    }
    return 0;
}
