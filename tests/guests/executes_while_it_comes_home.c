// One thread makes a call that brings its process home while another one executes a program, and while a process that
// shares memory with it ends. Whoever is first, the program runs.
#include "guest.h"
#include <sys/ipc.h>
#include <sys/shm.h>

static int id;
static volatile int *now;
static char *self;

static void *executes(void *unused) {
    while (!*now) {}
    execl(self, self, "executed", NULL);
    return unused;
}

// `threads` 0: only the other process ends, and this one executes when it is home.
static int races(int threads) {
    now = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fork() == 0) {
        while (!*now) {}
        _exit(5);
    }
    pthread_t thread;
    if (threads) pthread_create(&thread, NULL, executes, NULL);
    *now = 1;
    shmat(id, NULL, 0);
    if (threads) pthread_join(thread, NULL);
    execl(self, self, "executed", NULL);
    return 1;
}

int main(int argc, char **argv) {
    if (argc > 1) return 9;
    self = argv[0];
    id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    int executed = 0, status;
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        if (child == 0) return races(i % 2);
        executed += waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 9;
    }
    shmctl(id, IPC_RMID, NULL);
    SAY("%d executed\n", executed);
    return 0;
}
