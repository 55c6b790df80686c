// Processes that count in one file by atomic operations, wait for each other by futexes there, and lose nothing.
#include "guest.h"
#include <semaphore.h>

enum { kProcesses = 3, kRounds = 20000 };
struct common {
    _Atomic long count;
    sem_t turn[2];
    char text[64];
};

int main(void) {
    int fd = open("counters", O_RDWR | O_CREAT | O_TRUNC, 0600);
    TRY(ftruncate(fd, sizeof(struct common)));
    struct common *c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    TRY(close(fd));
    for (int i = 0; i < kProcesses; i++)
        if (fork() == 0) {
            struct stat s;
            for (int n = 0; n < kRounds; n++) {
                c->count++;
                if (n % 1000 == 0) stat("counters", &s);
            }
            _exit(0);
        }
    for (int i = 0; i < kProcesses; i++) wait(NULL);
    long counted = c->count;
    SAY("counted to %ld\n", counted);
    sem_init(&c->turn[0], 1, 0), sem_init(&c->turn[1], 1, 0);
    pid_t child = fork();
    for (int i = 0; i < 100; i++) {
        if (child) sprintf(c->text, "round %d", i), sem_post(&c->turn[0]), sem_wait(&c->turn[1]);
        else sem_wait(&c->turn[0]), c->text[0] = 'R', sem_post(&c->turn[1]);
        if (child && c->text[0] != 'R') SAY("%s\n", c->text);
    }
    if (child == 0) return 0;
    guest_wait_for("child", child);
    long count = 0;
    fd = open("counters", O_RDONLY);
    pread(fd, &count, sizeof count, 0);
    SAY("the file says %ld, and \"%s\"\n", count, c->text);
    return 0;
}
