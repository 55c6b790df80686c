// What one process reads under /proc about another: its map, its names, what it is doing; also about one's threads, over
// a descriptor that was opened before, over a duplicate, and in pieces.
#include "guest.h"

static char *text_of(pid_t pid, const char *file) {
    static char text[1 << 16];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    int fd = open(path, O_RDONLY);
    size_t n = 0;
    for (ssize_t more; (more = read(fd, text + n, sizeof text - 1 - n)) > 0;) n += (size_t)more;
    text[n] = 0;
    close(fd);
    return text;
}

static char state_of(pid_t pid) { return strrchr(text_of(pid, "stat"), ')')[2]; }
static int has_address(const char *text, const void *at) {
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        unsigned long start, end;
        if (sscanf(line, "%lx-%lx", &start, &end) == 2 && start <= (unsigned long)at && (unsigned long)at < end) return 1;
    }
    return 0;
}

static volatile pid_t tid;
static int hold[2];
static void *thread(void *unused) {
    char c;
    tid = gettid();
    pthread_setname_np(pthread_self(), "waiter");
    (void)!read(hold[0], &c, 1);
    return unused;
}

int main(void) {
    int ready[2], go[2];
    char c;
    pipe(ready), pipe(go), pipe(hold);
    pid_t pid = fork();
    if (pid == 0) {
        char *own = mmap((void *)0x200000000000, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        own[0] = 1;
        (void)!write(ready[1], "r", 1);
        (void)!read(go[0], &c, 1);
        for (volatile unsigned long i = 0;; i++) {}
    }
    (void)!read(ready[0], &c, 1);
    while (state_of(pid) != 'S') guest_sleep_ms(1);
    SAY("waiting: %c\n", state_of(pid));
    IS(has_address(text_of(pid, "maps"), (void *)0x200000001000));
    IS(has_address(text_of(getpid(), "maps"), (void *)0x200000001000));
    IS(has_address(text_of(pid, "smaps"), (void *)main));
    IS(strstr(text_of(pid, "status"), "TracerPid:\t0\n") != NULL);
    IS(strstr(text_of(pid, "smaps_rollup"), "[rollup]\nRss:") != NULL);
    SAY("exe %s\n", strrchr(text_of(pid, "cmdline"), '/'));
    (void)!write(go[1], "g", 1);
    while ((c = state_of(pid)) != 'R') guest_sleep_ms(1);         // its call may still be about to end
    SAY("computing: %c\n", c);
    kill(pid, SIGSTOP);
    int status;
    waitpid(pid, &status, WUNTRACED);
    SAY("stopped: %c\n", state_of(pid));
    kill(pid, SIGKILL);
    siginfo_t info;
    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    SAY("dead: %c\n", state_of(pid));
    SAY("map of the dead: %zu bytes\n", strlen(text_of(pid, "maps")));
    guest_wait_for("child", pid);
    pthread_t t;
    pthread_create(&t, NULL, thread, NULL);
    while (!tid) guest_sleep_ms(1);
    char path[64], one[200] = {0}, other[200] = {0};
    snprintf(path, sizeof path, "task/%d/status", tid);
    while (!strstr(text_of(getpid(), path), "Name:\twaiter")) guest_sleep_ms(1);
    IS(strstr(text_of(getpid(), path), "Threads:\t2\n") != NULL);
    (void)!write(hold[1], "x", 1);
    pthread_join(t, NULL);
    int fd = open("/proc/thread-self/status", O_RDONLY), copy = dup(fd);
    (void)!read(fd, one, 5), (void)!read(copy, one + 5, 40);
    (void)!pread(fd, other, 45, 0);
    IS(memcmp(one, other, 24) == 0);
    TRY(lseek(fd, 0, SEEK_CUR));
    TRY(lseek(fd, 0, SEEK_SET));
    TRY(read(fd, one, 5));
    TRY(read(fd, (void *)8, 5));
    TRY(pread(fd, one, 5, -1));
    return 0;
}
