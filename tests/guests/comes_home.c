// A call that only home can make brings the process home, and it goes on there with all that it has: registers, heap,
// stack, mapped files, descriptors, handlers, the clock. Again and again it can't tell.
#include "guest.h"
#include <sys/ipc.h>
#include <sys/shm.h>

static volatile sig_atomic_t handled;
static void handler(int signal) { handled = signal; }

static int later(struct timespec a, struct timespec b) {
    return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

static int deep(int n, int id) {
    volatile char pad[4096];
    memset((void*)pad, n, sizeof pad);
    if (n == 0) {
        char* memory = shmat(id, NULL, 0);
        IS(memory != (void*)-1);
        strcpy(memory, "shared");
        IS(shmdt(memory) == 0);
        return 0;
    }
    int below = deep(n - 1, id);
    return below + (pad[n] == (char)n);
}

int main(int argc, char** argv) {
    double x = argc / 3.0;
    char* heap = malloc(300000);
    for (int i = 0; i < 300000; i++) heap[i] = (char)(i * 7);
    char* anonymous = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(anonymous + 500000, "in the middle");
    int fd = open(argv[0], O_RDONLY);
    char* file = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    memset(file + 4096, 0, 4096);
    signal(SIGUSR1, handler);
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    pid_t pid = getpid();
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    IS(id >= 0);
    SAY("%d frames kept\n", deep(40, id));
    TRY(shmctl(id, IPC_RMID, NULL));
    clock_gettime(CLOCK_MONOTONIC, &after);
    IS(later(after, before));
    IS(getpid() == pid);
    int wrong = 0;
    for (int i = 0; i < 300000; i++) wrong += heap[i] != (char)(i * 7);
    SAY("%d bytes of the heap are wrong, %.6f, %s\n", wrong, x, anonymous + 500000);
    IS(memcmp(file, "\177ELF", 4) == 0);
    for (int i = 4096; i < 8192; i++) wrong += file[i] != 0;
    SAY("%d bytes of its copy of a file are wrong\n", wrong);
    raise(SIGUSR1);
    IS(handled == SIGUSR1);
    heap = realloc(heap, 3000000);
    heap[2999999] = 1;
    pid_t child = fork();
    if (child == 0) {
        SAY("a child of a process that came home\n");
        return 3;
    }
    guest_wait_for("it", child);
    return 0;
}
