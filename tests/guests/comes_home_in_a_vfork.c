// The child of a vfork, that borrows its parent's memory, makes a call that brings it home, and then executes; the
// parent goes on with its memory as it was.
#include "guest.h"
#include <sys/ipc.h>
#include <sys/shm.h>

int main(int argc, char **argv) {
    if (argc > 1) {
        SAY("executed with %s\n", argv[1]);
        return 4;
    }
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    volatile int before = 17;
    pid_t child = vfork();
    if (child == 0) {
        shmat(id, NULL, 0);
        execl("/proc/self/exe", argv[0], "arguments", NULL);
        _exit(1);
    }
    guest_wait_for("child", child);
    IS(before == 17);
    child = vfork();
    if (child == 0) {
        shmat(id, NULL, 0);
        _exit(9);
    }
    guest_wait_for("another", child);
    shmctl(id, IPC_RMID, NULL);
    return 0;
}
