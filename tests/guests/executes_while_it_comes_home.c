// One thread makes a call that brings its process home while another one executes a program, and while a process that
// shares memory with it ends. Whoever is first, the program runs.
#include "guest.h"
#include <sys/ipc.h>
#include <sys/shm.h>

static pthread_barrier_t both;
static char *self;

static void *executes(void *unused) {
    pthread_barrier_wait(&both);
    execl(self, self, "executed", NULL);
    return unused;
}

int main(int argc, char **argv) {
    if (argc > 1) return 9;
    self = argv[0];
    mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600), executed = 0, ended = 0, status;
    for (int i = 0; i < 30; i++) {
        pid_t ends = fork();
        if (ends == 0) return 5;
        pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            pthread_barrier_init(&both, NULL, 2);
            pthread_create(&thread, NULL, executes, NULL);
            pthread_barrier_wait(&both);
            shmat(id, NULL, 0);
            pthread_join(thread, NULL);
            return 1;
        }
        executed += waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 9;
        ended += waitpid(ends, &status, 0) == ends && WIFEXITED(status) && WEXITSTATUS(status) == 5;
    }
    shmctl(id, IPC_RMID, NULL);
    SAY("%d executed, %d ended\n", executed, ended);
    return 0;
}
