// A wait whose time is up after a second takes a second, whatever happens meanwhile without a handler of its thread:
// stop and continue, ignored signals, signals that are blocked. With a handler it ends at once.
#include "guest.h"
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sem.h>

enum { WAIT_MS = 1000, DISTURBED_AFTER_MS = 700, LATEST_MS = 1500 };       // begun anew it would take 1700

static long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int ends[2];

static long by_poll(void) {
    struct pollfd p = {.fd = ends[0], .events = POLLIN};
    return poll(&p, 1, WAIT_MS);
}

static long by_select(void) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    struct timeval timeout = {WAIT_MS / 1000, WAIT_MS % 1000 * 1000};
    return select(ends[0] + 1, &set, NULL, NULL, &timeout);
}

static long by_ppoll(void) {
    struct pollfd p = {.fd = ends[0], .events = POLLIN};
    struct timespec timeout = {WAIT_MS / 1000, WAIT_MS % 1000 * 1000000};
    return ppoll(&p, 1, &timeout, NULL);
}

static long by_epoll(void) {
    int e = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(e, EPOLL_CTL_ADD, ends[0], &event);
    return epoll_wait(e, &event, 1, WAIT_MS);
}

static long by_sigtimedwait(void) {
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, SIGWINCH);
    struct timespec timeout = {WAIT_MS / 1000, WAIT_MS % 1000 * 1000000};
    return sigtimedwait(&set, NULL, &timeout);
}

static long by_semtimedop(void) {
    int s = semget(IPC_PRIVATE, 1, 0600);
    struct sembuf take = {.sem_op = -1};
    struct timespec timeout = {WAIT_MS / 1000, WAIT_MS % 1000 * 1000000};
    long result = semtimedop(s, &take, 1, &timeout);
    int error = errno;
    semctl(s, 0, IPC_RMID);
    errno = error;
    return result;
}

static long (*wait_in_handler)(void);
static char said[200];

static void wait_and_note(const char *when, long (*wait)(void)) {
    long start = now_ms();
    errno = 0;
    long result = wait();
    const char *error = result < 0 ? strerrorname_np(errno) : "no error";
    long took = now_ms() - start;
    const char *how = took < DISTURBED_AFTER_MS - 50 ? "too short"
                      : took < WAIT_MS - 5           ? "cut short"
                      : took < LATEST_MS             ? "in time"
                                                     : "too long";
    snprintf(said, sizeof said, "%s: %ld, %s, %s\n", when, result, error, how);
}

static void handler(int number) {
    if (number == SIGUSR1) wait_and_note("in a handler that blocks the signal", wait_in_handler);
}

static int reports[2];

// A child waits, and is disturbed by these signals in turn.
static void disturbed(const char *how, long (*wait)(void), void (*prepare)(long (*)(void)), int first, int second) {
    int lines[2];
    pipe(lines);
    pid_t child = fork();
    if (child == 0) {
        prepare(wait);
        if (!said[0]) wait_and_note(how, wait);
        write(lines[1], said, strlen(said));
        _exit(0);
    }
    close(lines[1]);
    pid_t disturber = fork();
    if (disturber == 0) {
        guest_sleep_ms(DISTURBED_AFTER_MS);
        kill(child, first);
        if (second) {
            guest_sleep_ms(50);
            kill(child, second);
        }
        char line[200];
        ssize_t n = read(lines[0], line, sizeof line);
        write(reports[1], line, n > 0 ? (size_t)n : 0);
        _exit(0);
    }
    close(lines[0]);
}

static void nothing(long (*wait)(void)) { (void)wait; }
static void ignore(long (*wait)(void)) { (void)wait, signal(SIGUSR2, SIG_IGN); }
static void handle(long (*wait)(void)) { (void)wait, signal(SIGUSR2, handler); }
static void raise_first(long (*wait)(void)) {
    struct sigaction action = {.sa_handler = handler};
    sigaddset(&action.sa_mask, SIGUSR2);
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGUSR2, handler);
    wait_in_handler = wait;
    raise(SIGUSR1);
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

int main(void) {
    struct { const char *name; long (*wait)(void); } waits[] = {
        {"poll", by_poll}, {"select", by_select}, {"ppoll", by_ppoll}, {"epoll_wait", by_epoll},
        {"sigtimedwait", by_sigtimedwait}, {"semtimedop", by_semtimedop}};
    pipe(ends);
    pipe(reports);
    char names[24][60];
    for (int i = 0; i < 6; i++) {
        char *name = names[4 * i];
        snprintf(name, 60, "%s, stopped and continued", waits[i].name);
        disturbed(name, waits[i].wait, nothing, SIGSTOP, SIGCONT);
        snprintf(name += 60, 60, "%s, an ignored signal", waits[i].name);
        disturbed(name, waits[i].wait, ignore, SIGUSR2, 0);
        snprintf(name += 60, 60, "%s, a handler", waits[i].name);
        disturbed(name, waits[i].wait, handle, SIGUSR2, 0);
        disturbed(name, waits[i].wait, raise_first, SIGUSR2, 0);
    }
    close(reports[1]);
    while (wait(NULL) > 0) {}
    static char text[8000];
    char *lines[64];
    ssize_t n, at = 0;
    while ((n = read(reports[0], text + at, sizeof text - 1 - (size_t)at)) > 0) at += n;
    int count = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) lines[count++] = line;
    qsort(lines, (size_t)count, sizeof *lines, by_text);
    for (int i = 0; i < count; i++) SAY("%s\n", lines[i]);
    return 0;
}
