// Threads read the map of their own memory all the time, under a timer's signals, while children are made and end. No
// reading ever misses what is there, or breaks a line.
#include "guest.h"

static volatile int enough, bad;
static volatile unsigned long readings;
static char *known;

static void look(void) {
    char line[1024];
    int found = 0;
    unsigned long last = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    if (!f) { bad |= 1; return; }
    while (fgets(line, sizeof line, f)) {
        unsigned long start, end;
        char rights[8];
        if (sscanf(line, "%lx-%lx %4s", &start, &end, rights) != 3 || start < last || line[strlen(line) - 1] != '\n') bad |= 2;
        found |= start <= (unsigned long)known && (unsigned long)known < end;
        last = end;
    }
    fclose(f);
    if (!found) bad |= 4;
    __atomic_add_fetch(&readings, 1, __ATOMIC_SEQ_CST);
}

static void *looks(void *unused) {
    while (!enough) look();
    return unused;
}

static void read_more(unsigned long more) {
    for (unsigned long until = readings + more; readings < until;) guest_sleep_ms(1);
}

static void handler(int signal) { (void)signal; }

int main(void) {
    known = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_t t[2];
    for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, looks, NULL);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = handler, .sa_flags = SA_RESTART}, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 3000}, {0, 3000}}, NULL);
    for (int i = 0; i < 5; i++) {
        pid_t pid = fork();
        if (pid == 0) { look(); _exit(bad); }
        guest_wait_for("child", pid);
    }
    read_more(20);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    enough = 1;
    for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
    SAY("bad: %d\n", bad);
    return 0;
}
