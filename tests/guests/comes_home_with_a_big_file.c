// A big file of which a few pages have been read and written comes home with the process that maps it, one that has
// lost its name and one that nobody may read any more.
#include "guest.h"
#include <sys/ipc.h>
#include <sys/shm.h>

#define GIB (1L << 30)

int main(void) {
    char *maps[2];
    const char *names[] = {"nameless", "closed"};
    for (int i = 0; i < 2; i++) {
        int fd = open(names[i], O_RDWR | O_CREAT, 0600);
        ftruncate(fd, 20 * GIB + 100);
        for (long at = 0; at < 20; at++) {
            dprintf(fd, "%s %ld", names[i], at);
            lseek(fd, (at + 1) * GIB, SEEK_SET);
        }
        maps[i] = mmap(NULL, 20 * GIB + 100, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
        IS(maps[i] != MAP_FAILED);
        if (i == 0) unlink(names[i]);
        else fchmod(fd, 0);
        close(fd);
        SAY("%s, %s\n", maps[i], maps[i] + 3 * GIB);
        memcpy(maps[i] + 5 * GIB, "written", 7);
        memcpy(maps[i] + 6 * GIB + 4096, "behind", 7);
    }
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    IS(shmat(id, NULL, 0) != (void *)-1);
    TRY(shmctl(id, IPC_RMID, NULL));
    for (int i = 0; i < 2; i++) {
        for (long at = 3; at < 8; at++) SAY("%s, ", maps[i] + at * GIB);
        SAY("%s, %d\n", maps[i] + 6 * GIB + 4096, maps[i][20 * GIB + 100]);
        TRY(write(1, maps[i] + 9 * GIB, 8));
    }
    pid_t child = fork();
    if (child == 0) {
        SAY("a child sees %s\n", maps[0] + 10 * GIB);
        return 3;
    }
    guest_wait_for("it", child);
    unlink("closed");
    return 0;
}
