// Two programs, one of which has a file mapped shared: what a message through a pipe tells of is in the file when the
// message is there, in both directions.
#include "guest.h"

enum { kRounds = 500 };
struct record { long round, text[100]; };

int main(void) {
    int there[2], back[2];
    pipe(there), pipe(back);
    int fd = open("record", O_RDWR | O_CREAT | O_TRUNC, 0600);
    TRY(ftruncate(fd, sizeof(struct record)));
    pid_t child = fork();
    struct record copy;
    long round = 0, wrong = 0;
    if (child == 0) {                                        // has no mapping: reads and writes
        while (read(there[0], &round, sizeof round) == sizeof round) {
            pread(fd, &copy, sizeof copy, 0);
            for (int i = 0; i < 100; i++) wrong += copy.text[i] != round;
            for (int i = 0; i < 100; i++) copy.text[i] = -round;
            pwrite(fd, &copy, sizeof copy, 0);
            write(back[1], &round, sizeof round);
            if (round == kRounds) break;
        }
        SAY("the reader found %ld wrong\n", wrong);
        return 0;
    }
    struct record *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    for (round = 1; round <= kRounds; round++) {
        for (int i = 0; i < 100; i++) r->text[i] = round;
        write(there[1], &round, sizeof round);
        read(back[0], &copy.round, sizeof copy.round);
        for (int i = 0; i < 100; i++) wrong += r->text[i] != -round;
    }
    guest_wait_for("child", child);
    SAY("the mapper found %ld wrong\n", wrong);
    return 0;
}
