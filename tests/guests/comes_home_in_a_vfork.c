// The child of a vfork, that borrows its parent's memory, makes a call that brings it home, and then executes, fails to,
// or ends; the parent waits for that, and goes on with its memory as the child has left it.
#include "guest.h"
#include <sys/ipc.h>
#include <sys/shm.h>

static volatile int of_program;
static volatile int *shared;

// Says what the parent finds, of what the child wrote before it came home and behind.
static void say(const char *who, pid_t child, volatile int *on_heap, int on_stack) {
    guest_wait_for(who, child);
    SAY("%s: %d %d %d %d\n", who, of_program, on_heap[0], on_heap[50000], on_stack);
    IS(on_heap[10000] == 7);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        SAY("executed with %s\n", argv[1]);
        return 4;
    }
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    volatile int *on_heap = calloc(60000, sizeof(int));
    volatile int on_stack = 0;
    on_heap[10000] = 7;
    pid_t child = vfork();
    if (child == 0) {
        of_program = 1, on_heap[0] = 2;
        shmat(id, NULL, 0);
        usleep(100000);
        on_heap[50000] = 3, on_stack = 4;
        execl("/proc/self/exe", argv[0], "arguments", NULL);
        _exit(1);
    }
    say("one that executes", child, on_heap, on_stack);
    child = vfork();
    if (child == 0) {
        shmat(id, NULL, 0);
        execl("/not/there", "there", NULL);
        of_program = errno == ENOENT ? 5 : 6;
        usleep(50000);
        execl("/not/there/either", "there", NULL);
        on_heap[0] = 8;
        _exit(9);
    }
    say("one that can't", child, on_heap, on_stack);
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    child = vfork();
    if (child == 0) {
        shmat(id, NULL, 0);
        memset((void *)on_heap, 0, 4096), *shared = 10;
        on_stack = 11;
        raise(SIGKILL);
        _exit(1);
    }
    say("one that is killed", child, on_heap, on_stack);
    SAY("shared %d\n", *shared);
    shmctl(id, IPC_RMID, NULL);
    return 0;
}
