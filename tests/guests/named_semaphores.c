// Two processes that open the same named semaphore, and POSIX shared memory of the same name.
#include "guest.h"
#include <semaphore.h>

int main(void) {
    char name[32], memory_name[32];
    snprintf(name, sizeof name, "/guest-%d", getpid());
    snprintf(memory_name, sizeof memory_name, "/guest-m-%d", getpid());
    sem_t *turn = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
    IS(turn != SEM_FAILED);
    pid_t child = fork();
    if (child == 0) {
        int fd = -1;
        sem_t *mine = sem_open(name, 0);
        sem_wait(mine);
        IS(mine != SEM_FAILED);
        IS((fd = shm_open(memory_name, O_RDWR, 0)) >= 0);
        char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        SAY("the child reads \"%s\"\n", memory);
        strcpy(memory, "from the child");
        return 7;
    }
    int fd = shm_open(memory_name, O_RDWR | O_CREAT | O_EXCL, 0600);
    TRY(ftruncate(fd, 4096));
    char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    strcpy(memory, "from the parent");
    sem_post(turn);
    guest_wait_for("child", child);
    SAY("the parent reads \"%s\"\n", memory);
    int value = -1;
    TRY(sem_getvalue(turn, &value));
    SAY("the semaphore is %d\n", value);
    TRY(shm_unlink(memory_name));
    TRY(sem_unlink(name));
    strcpy(memory, "still there"), sem_post(turn);
    char text[16] = "";
    pread(fd, text, 11, 0);
    SAY("without a name: \"%s\"\n", text);
    return 0;
}
