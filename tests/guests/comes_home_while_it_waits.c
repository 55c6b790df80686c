// A process waits for its child, with which it shares memory, while the child makes a call that brings both home. The
// parent's call goes on and tells it of the child's end.
#include "guest.h"
#include <sys/ipc.h>
#include <sys/shm.h>

int main(void) {
    char *common = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
            IS(shmat(id, NULL, 0) != (void *)-1);
            shmctl(id, IPC_RMID, NULL);
            common[i] = (char)('a' + i);
            return 7 + i;
        }
        guest_wait_for("child", child);
        SAY("it has written %s\n", common);
    }
    return 0;
}
