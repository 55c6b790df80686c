// Names: comm of process and thread, /proc/self/status, cmdline, own maps and limits in /proc.
#include "guest.h"
#include <sys/prctl.h>

static void show(const char *path, const char *only) {
    char line[512];
    FILE *f = fopen(path, "r");
    if (!f) { SAY("%s: %s\n", path, strerrorname_np(errno)); return; }
    while (fgets(line, sizeof line, f))
        if (strncmp(line, only, strlen(only)) == 0) SAY("%s", line);
    fclose(f);
}

static void *thread(void *unused) {
    (void)unused;
    char name[20] = {0};
    pthread_setname_np(pthread_self(), "worker bee");
    pthread_getname_np(pthread_self(), name, sizeof name);
    SAY("thread %s\n", name);
    return NULL;
}

int main(void) {
    char name[20] = {0};
    TRY(prctl(PR_GET_NAME, name));
    SAY("%s\n", name);
    TRY(prctl(PR_SET_NAME, "a name too long to be kept"));
    show("/proc/self/comm", "");
    show("/proc/self/status", "Name:");
    show("/proc/self/status", "Umask:");
    show("/proc/self/limits", "Max core");
    pthread_t t;
    pthread_create(&t, NULL, thread, NULL);
    pthread_join(t, NULL);
    TRY(prctl(PR_GET_DUMPABLE));
    TRY(prctl(PR_GET_PDEATHSIG, name));
    TRY(prctl(PR_SET_PDEATHSIG, 1000));
    return 0;
}
