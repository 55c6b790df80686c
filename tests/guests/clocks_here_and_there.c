// Two processes of which one comes home tell each other the time: what the one away has heard is never ahead of what it
// reads itself, on any clock, and what the one at home has heard by no more than a question over the link takes. And a
// process that comes home sees none go back.
#include "guest.h"
#include <sys/ipc.h>
#include <sys/shm.h>

static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI};
enum { CLOCKS = sizeof clocks / sizeof *clocks, ROUNDS = 200, TOLERANCE_NS = 1000000 };
typedef struct { struct timespec t[CLOCKS]; } Times;

static Times now(void) {
    Times all;
    for (int i = 0; i < CLOCKS; ++i) clock_gettime(clocks[i], &all.t[i]);
    return all;
}

static int goes_back(Times from, Times to, long long by) {
    int back = 0;
    for (int i = 0; i < CLOCKS; ++i) {
        struct timespec a = from.t[i], b = to.t[i];
        if ((a.tv_sec - b.tv_sec) * 1000000000ll + a.tv_nsec - b.tv_nsec > by) back |= 1 << i;
    }
    return back;
}

static void come_home(void) {
    int id = shmget(IPC_PRIVATE, 4096, 0600);
    shmdt(shmat(id, NULL, 0));
    shmctl(id, IPC_RMID, NULL);
}

int main(void) {
    int to_child[2], to_parent[2], back = 0;
    pipe(to_child), pipe(to_parent);
    Times heard;
    pid_t child = fork();
    if (child == 0) {
        close(to_child[1]), close(to_parent[0]);
        Times before = now();
        come_home();
        back = goes_back(before, now(), 0);
        while (read(to_child[0], &heard, sizeof heard) == sizeof heard) {
            Times mine = now();
            back |= goes_back(heard, mine, TOLERANCE_NS) << 8;
            write(to_parent[1], &mine, sizeof mine);
        }
        SAY("what the child saw: %x\n", back);
        _exit(0);
    }
    close(to_child[0]), close(to_parent[1]);
    for (int i = 0; i < ROUNDS; ++i) {
        Times mine = now();
        write(to_child[1], &mine, sizeof mine);
        read(to_parent[0], &heard, sizeof heard);
        Times later = now();
        back |= goes_back(heard, later, 0);
    }
    close(to_child[1]);
    guest_wait_for("child", child);
    SAY("what the parent saw: %x\n", back);
    Times before = now();
    come_home();
    SAY("coming home itself: %x\n", goes_back(before, now(), 0));
    return 0;
}
