// What a process has used before it came home, at home, and after it has left again, its parent gets to know when it
// waits for it.
#include "guest.h"
#include <sys/ipc.h>
#include <sys/resource.h>
#include <sys/shm.h>

static void burn(double seconds) {
    struct timespec now, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    end.tv_nsec += (long)(seconds * 1e9);
    end.tv_sec += end.tv_nsec / 1000000000, end.tv_nsec %= 1000000000;
    do {
        for (volatile int i = 0; i < 2000000; ++i) {}
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    } while (now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec));
}
static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }
static double used_by(int who) {
    struct rusage r;
    getrusage(who, &r);
    return seconds(r.ru_utime) + seconds(r.ru_stime);
}

int main(int count, char **words) {
    if (count > 1) {
        burn(0.1);
        IS(used_by(RUSAGE_SELF) >= 0.38 && used_by(RUSAGE_SELF) < 1);
        IS(used_by(RUSAGE_CHILDREN) >= 0.09 && used_by(RUSAGE_CHILDREN) < 0.3);
        return 0;
    }
    pid_t child = fork();
    if (child == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0) burn(0.1), _exit(0);
        waitpid(grandchild, NULL, 0);
        burn(0.2);
        int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
        IS(shmat(id, NULL, 0) != (void *)-1);
        shmctl(id, IPC_RMID, NULL);
        burn(0.1);
        execl("/proc/self/exe", words[0], "again", NULL);
    }
    struct rusage of_child;
    int status;
    IS(wait4(child, &status, 0, &of_child) == child);
    double used = seconds(of_child.ru_utime) + seconds(of_child.ru_stime);
    IS(used >= 0.48 && used < 1.2);
    IS(used_by(RUSAGE_CHILDREN) >= 0.48 && used_by(RUSAGE_CHILDREN) < 1.2);
    return 0;
}
