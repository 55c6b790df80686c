// What a process has told the kernel about its memory comes home with the memory: what its children get, what is locked,
// what grows, what is huge.
#include "guest.h"
#include <sys/ipc.h>
#include <sys/shm.h>

#define PAGES 4096

// The flags of a mapping that are somebody's wish.
static void say_flags(const char *what, void *at) {
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512], word[4];
    unsigned long start, end;
    int here = 0;
    SAY("%s:", what);
    while (fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx %*s", &start, &end) == 2) here = start <= (uintptr_t)at && (uintptr_t)at < end;
        if (!here || strncmp(line, "VmFlags:", 8) != 0) continue;
        for (char *p = line + 8; sscanf(p, " %2s", word) == 1; p += 3)
            if (strstr("dc wf hg nh mg dd lo lf gd nr sr rr", word)) SAY(" %s", word);
    }
    SAY("\n");
    fclose(maps);
}

static char *map(int more_flags) {
    char *p = mmap(NULL, PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | more_flags, -1, 0);
    mprotect(mmap(NULL, PAGES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGES, PROT_READ);   // no merging
    return p;
}

int main(int argc, char **argv) {
    const int advice[] = {MADV_DONTFORK, MADV_WIPEONFORK, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_MERGEABLE, MADV_DONTDUMP,
                          MADV_SEQUENTIAL, MADV_RANDOM};
    enum { COUNT = sizeof advice / sizeof *advice };
    char *advised[COUNT], *plain = map(0), *unreserved = map(MAP_NORESERVE), *locked = map(0), *on_fault = map(0);
    for (int i = 0; i < COUNT; i++) {
        advised[i] = map(0);
        strcpy(advised[i], "content");
        madvise(advised[i], PAGES, advice[i]);
    }
    char *room = mmap(NULL, 1024 * PAGES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *grows = mmap(room + 1000 * PAGES, PAGES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
    int fd = open(argv[0], O_RDONLY);
    char *file = mmap(NULL, PAGES, PROT_READ, MAP_PRIVATE, fd, 0);
    madvise(file, PAGES, MADV_DONTFORK);
    TRY(mlock(locked, PAGES));
    TRY(mlock2(on_fault, PAGES, MLOCK_ONFAULT));
    TRY(mlockall(MCL_FUTURE));
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    IS(shmat(id, NULL, 0) != (void *)-1);
    shmctl(id, IPC_RMID, NULL);
    for (int i = 0; i < COUNT; i++) {
        say_flags("advised", advised[i]);
        IS(strcmp(advised[i], "content") == 0);
    }
    say_flags("plain", plain), say_flags("unreserved", unreserved), say_flags("file", file), say_flags("grows", grows);
    say_flags("locked", locked), say_flags("locked on fault", on_fault);
    munmap(room, 1000 * PAGES);                              // more than the gap below what grows
    grows[-1] = 1;                                           // it does
    say_flags("below", grows - 1);
    say_flags("new", map(0));
    pid_t child = fork();
    if (child == 0) {
        SAY("a child sees \"%s\"\n", advised[1]);
        return advised[0][0];                                // which it hasn't got
    }
    guest_wait_for("child", child);
    return argc - 1;
}
