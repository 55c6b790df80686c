// Two processes share anonymous memory; one makes a call that brings it home. The other comes with it: semaphore,
// counters and pages stay common.
#include "guest.h"
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/ipc.h>
#include <sys/shm.h>

struct common {
    sem_t to_child, to_parent;
    atomic_int counter;
    char text[1 << 20];
};

static int attaches(void) {
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    char *memory = shmat(id, NULL, 0);
    shmctl(id, IPC_RMID, NULL);
    return memory != (char *)-1 && shmdt(memory) == 0;
}

int main(void) {
    struct common *c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sem_init(&c->to_child, 1, 0), sem_init(&c->to_parent, 1, 0);
    strcpy(c->text + 600000, "written before");
    pid_t child = fork();
    if (child == 0) {
        sem_wait(&c->to_child);
        char *middle = c->text + 500000;
        mprotect(middle - (uintptr_t)middle % 4096, 8192, PROT_READ);        // not one mapping any more
        IS(attaches());
        c->counter++;
        SAY("child: %s\n", c->text + 600000);
        strcpy(c->text + 700000, "written by the child");
        sem_post(&c->to_parent);
        for (int i = 0; i < 1000; i++) {
            sem_wait(&c->to_child);
            c->counter++;
            sem_post(&c->to_parent);
        }
        return 5;
    }
    guest_sleep_ms(30);
    sem_post(&c->to_child);
    sem_wait(&c->to_parent);
    int counted = c->counter;
    SAY("parent: %s, counter %d\n", c->text + 700000, counted);
    for (int i = 0; i < 1000; i++) sem_post(&c->to_child), sem_wait(&c->to_parent);
    counted = c->counter;
    SAY("counter %d\n", counted);
    guest_wait_for("child", child);
    return 0;
}
