// A process that comes home with a file mapped shared keeps it mapped, and so does its child, which comes with it.
#include "guest.h"
#include <stddef.h>
#include <sys/shm.h>

struct common { _Atomic int go, count; char text[32]; };

int main(void) {
    int fd = open("common", O_RDWR | O_CREAT | O_TRUNC, 0600);
    TRY(ftruncate(fd, 8192));
    struct common *c = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    const char *reader = mmap(NULL, 4096, PROT_READ, MAP_SHARED, open("common", O_RDONLY), 0);
    TRY(unlink("common"));
    strcpy(c->text, "written away");
    pid_t child = fork();
    if (child == 0) {
        while (!c->go) {}
        for (int i = 0; i < 10000; i++) c->count++;
        strcpy(c->text, "written by the child");
        return 0;
    }
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    IS(id >= 0);
    TRY(shmctl(id, IPC_RMID, NULL));
    c->go = 1;
    for (int i = 0; i < 10000; i++) c->count++;
    guest_wait_for("child", child);
    int counted = c->count;
    SAY("counted to %d, \"%s\"\n", counted, c->text);
    struct common copy;
    pread(fd, &copy, sizeof copy, 0);
    counted = copy.count;
    SAY("the file says %d, \"%s\"\n", counted, copy.text);
    SAY("by the other mapping: \"%s\"\n", reader + offsetof(struct common, text));
    IS(mprotect((void *)reader, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
    IS(mprotect(c, 8192, PROT_READ) == 0 && mprotect(c, 8192, PROT_READ | PROT_WRITE) == 0);
    TRY(munmap(c, 8192));
    return 0;
}
