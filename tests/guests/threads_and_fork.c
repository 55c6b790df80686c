// fork from a thread: the child has that thread only. exec from a thread: the others end, the pid stays.
#include "guest.h"
#include <dirent.h>

static int threads_here(void) {
    int count = 0;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *e; dir && (e = readdir(dir));) count += e->d_name[0] != '.';
    if (dir) closedir(dir);
    return count;
}

static void *sleeper(void *unused) {
    (void)unused;
    for (;;) pause();
}

static void *forker(void *unused) {
    (void)unused;
    pid_t child = fork();
    if (child == 0) {
        SAY("child has %d thread, is its main one %d\n", threads_here(), getpid() == gettid());
        _exit(4);
    }
    guest_wait_for("child of a thread", child);
    return NULL;
}

static void *execer(void *pid) {
    char script[100];
    snprintf(script, sizeof script, "echo same pid: $(($$ == %d)); ls /proc/$$/task | wc -l", *(pid_t *)pid);
    execl("/bin/sh", "sh", "-c", script, NULL);
    return NULL;
}

int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, sleeper, NULL);
    pthread_create(&thread, NULL, forker, NULL);
    pthread_join(thread, NULL);
    pid_t child = fork();
    if (child == 0) {
        pid_t me = getpid();
        pthread_create(&thread, NULL, sleeper, NULL);
        pthread_create(&thread, NULL, execer, &me);
        for (;;) pause();
    }
    guest_wait_for("exec by a thread", child);
    return 0;
}
