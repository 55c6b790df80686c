// Whoever sends a signal and then says so through memory is late: the signal was there first. To a thread, to the
// process, and between processes that share a page.
#include "guest.h"
#include <sched.h>

enum { ROUNDS = 200 };
static struct shared { int said, heard; } *page;
static volatile int handled;
static pid_t self;
static pthread_t main_thread;

static void handler(int number) { (void)number, handled++; }

static void to_thread(void) { pthread_kill(main_thread, SIGUSR1); }
static void to_process(void) { kill(self, SIGUSR1); }

static void send(void (*how)(void)) {
    for (int i = 1; i <= ROUNDS; i++) {
        how();
        __atomic_store_n(&page->said, i, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&page->heard, __ATOMIC_SEQ_CST) < i) sched_yield();
    }
}

static void *sender(void *how) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    send((void (*)(void))how);
    return NULL;
}

static void receive(const char *what) {
    int late = 0;
    for (int i = 1; i <= ROUNDS; i++) {
        while (__atomic_load_n(&page->said, __ATOMIC_SEQ_CST) < i) sched_yield();
        sched_yield();                    // back from the kernel, where the signal must be seen at the latest
        if (handled < i) late++;
        __atomic_store_n(&page->heard, i, __ATOMIC_SEQ_CST);
    }
    SAY("%s: %d handled, %d late\n", what, handled, late);
}

static void begin(void) { page->said = page->heard = handled = 0; }

int main(void) {
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    signal(SIGUSR1, handler);
    self = getpid(), main_thread = pthread_self();
    pthread_t thread;
    pthread_create(&thread, NULL, sender, (void *)to_thread);
    receive("to a thread");
    pthread_join(thread, NULL);
    begin();
    pthread_create(&thread, NULL, sender, (void *)to_process);
    receive("to the process");
    pthread_join(thread, NULL);
    begin();
    pid_t child = fork();
    if (child == 0) {
        send(to_process);
        _exit(0);
    }
    receive("from another process");
    guest_wait_for("sender", child);
    return 0;
}
