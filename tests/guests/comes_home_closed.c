// A process that has closed itself to others of its user comes home all the same, with a call that another thread is in
// and one that sleeps, and is closed there.
#include "guest.h"
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/shm.h>

static int ends[2];
static char text[16];

static void *reads(void *unused) {
    read(ends[0], text, sizeof text);
    return unused;
}
static void *sleeps(void *rest) {
    nanosleep(&(struct timespec){5, 0}, rest);
    return rest;
}
static void wakes(int signal) { (void)signal; }

int main(void) {
    char *heap = malloc(100000);
    memset(heap, 'x', 100000);
    struct timespec rest = {0};
    signal(SIGUSR1, wakes);
    pipe(ends);
    TRY(prctl(PR_SET_DUMPABLE, 0));
    pthread_t reader, sleeper;
    pthread_create(&reader, NULL, reads, NULL);
    pthread_create(&sleeper, NULL, sleeps, &rest);
    guest_sleep_ms(50);
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    IS(shmat(id, NULL, 0) != (void *)-1);
    shmctl(id, IPC_RMID, NULL);
    TRY(prctl(PR_GET_DUMPABLE));
    write(ends[1], "brought", 8);
    pthread_join(reader, NULL);
    pthread_kill(sleeper, SIGUSR1);
    pthread_join(sleeper, NULL);
    int wrong = 0;
    for (int i = 0; i < 100000; i++) wrong += heap[i] != 'x';
    SAY("%s, %d wrong, some time left: %d\n", text, wrong, rest.tv_sec == 4);
    pid_t child = fork();
    if (child == 0) return prctl(PR_GET_DUMPABLE) + 3;
    guest_wait_for("child", child);
    return 0;
}
