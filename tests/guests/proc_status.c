// What /proc/self/status, stat and statm say of a process's memory, signals, threads and tracer.
#include "guest.h"
#include <sys/prctl.h>

static long kib(const char *key) {
    char line[512];
    long value = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0) sscanf(line + strlen(key) + 1, "%ld", &value);
    fclose(f);
    return value;
}

static void show(const char *key) {
    char line[512];
    FILE *f = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0) SAY("%s", line);
    fclose(f);
}

static unsigned long long stat_field(int n) {
    char text[2048] = {0};
    int fd = open("/proc/self/stat", O_RDONLY);
    (void)!read(fd, text, sizeof text - 1);
    close(fd);
    char *at = strrchr(text, ')') + 2;
    for (int i = 3; i < n; i++) at = strchr(at, ' ') + 1;
    return strtoull(at, NULL, 10);
}

static long resident_pages(void) {
    long all = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    (void)!fscanf(f, "%ld %ld", &all, &resident);
    fclose(f);
    return resident;
}

static void handler(int signal) { (void)signal; }

int main(void) {
    for (const char **key = (const char *[]){"Name:", "State:", "TracerPid:", "Threads:", "NoNewPrivs:", "Seccomp",
                                             "SigIgn:", "SigCgt:", "SigBlk:", "SigPnd:", "VmLck:", "VmSwap:", NULL}; *key; key++)
        show(*key);
    IS(kib("Pid:") == getpid());
    IS(kib("PPid:") == getppid());
    signal(SIGUSR1, handler), signal(SIGUSR2, SIG_IGN);
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    show("SigPnd:"), show("ShdPnd:"), show("SigBlk:"), show("SigIgn:"), show("SigCgt:");
    SAY("%llx %llx %llx %llx\n", stat_field(31), stat_field(32), stat_field(33), stat_field(34));
    long size = kib("VmSize:"), resident = kib("VmRSS:"), pages = resident_pages(), bytes = (long)stat_field(23);
    IS(size * 1024 == bytes);
    IS(resident > 400 && resident < 20000);
    enum { kMore = 64 << 20 };
    char *more = mmap(NULL, kMore, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    IS(kib("VmSize:") == size + kMore / 1024);
    memset(more, 1, kMore);
    IS(kib("VmRSS:") > resident + 60000);
    IS(resident_pages() > pages + 15000);
    IS(stat_field(24) > 15000);
    IS(kib("RssAnon:") > 60000);
    munmap(more, kMore);
    IS(kib("VmSize:") == size);
    IS(kib("VmPeak:") >= size + kMore / 1024);
    IS(kib("VmStk:") > 0 && kib("VmExe:") > 0 && kib("VmLib:") > 1000);
    SAY("state in stat: %d\n", stat_field(3) == 0);
    return 0;
}
