// Shared anonymous memory between parent and child, with an atomic counter and a process-shared semaphore.
#include "guest.h"
#include <semaphore.h>

struct shared {
    sem_t ping, pong;
    long counter;
    char text[100];
};

int main(void) {
    struct shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sem_init(&s->ping, 1, 0);
    sem_init(&s->pong, 1, 0);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 100; ++i) {
            sem_wait(&s->ping);
            snprintf(s->text, sizeof s->text, "round %d", i);
            sem_post(&s->pong);
        }
        for (int i = 0; i < 10000; ++i) __atomic_add_fetch(&s->counter, 1, __ATOMIC_SEQ_CST);
        _exit(0);
    }
    for (int i = 0; i < 100; ++i) {
        sem_post(&s->ping);
        sem_wait(&s->pong);
    }
    for (int i = 0; i < 10000; ++i) __atomic_add_fetch(&s->counter, 1, __ATOMIC_SEQ_CST);
    guest_wait_for("child", child);
    SAY("%s, %ld\n", s->text, s->counter);
    return 0;
}
