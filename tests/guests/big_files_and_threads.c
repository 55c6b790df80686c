// Four threads walk through one mapped file, each its own way, while a timer's signals hit them and the main thread
// makes calls with buffers in the same file.
#include "guest.h"

enum { PAGES = 80000, THREADS = 4 };
static const unsigned char *file;
static volatile sig_atomic_t alarms;

static unsigned char byte_of(unsigned page) { return page % 64 ? 0 : page / 64 % 250 + 1; }
static void on_alarm(int signal) { (void)signal; alarms = alarms + 1; }

static void *walk(void *number) {
    unsigned step = (unsigned[]){1, 64, 7, PAGES - 64}[(long)number], page = 0;
    long wrong = 0;
    for (int i = 0; i < 3000; i++, page = (page + step) % PAGES) wrong += file[page * 4096L] != byte_of(page);
    return (void *)wrong;
}

int main(void) {
    int fd = open("big", O_RDWR | O_CREAT, 0600);
    TRY(ftruncate(fd, PAGES * 4096L));
    for (unsigned page = 0; page < PAGES; page += 64) {
        unsigned char byte = byte_of(page);
        pwrite(fd, &byte, 1, page * 4096L);
    }
    unlink("big");
    file = mmap(NULL, PAGES * 4096L, PROT_READ, MAP_PRIVATE, fd, 0);
    IS(file != MAP_FAILED);
    signal(SIGALRM, on_alarm);
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, walk, (void *)i);
    int ends[2];
    pipe(ends);
    long wrong = 0;
    for (unsigned page = 0; page < PAGES; page += 640) {
        unsigned char byte = 0;
        if (write(ends[1], file + page * 4096L, 1) != 1 || read(ends[0], &byte, 1) != 1) SAY("%m\n");
        wrong += byte != byte_of(page);
    }
    SAY("wrong in calls: %ld\n", wrong);
    for (long i = 0; i < THREADS; i++) {
        void *found;
        pthread_join(threads[i], &found);
        SAY("wrong in thread %ld: %ld\n", i, (long)found);
    }
    while (alarms < 3) pause();
    setitimer(ITIMER_REAL, &never, NULL);
    // Other guests that map the same file see the same.
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            file = mmap(NULL, PAGES * 4096L, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
            _exit(walk((void *)(long)i) != NULL);
        }
        guest_wait_for("child", child);
    }
    return 0;
}
