// A hundred queued signals come while the only other thing that happens is threads that begin and end: a thread library
// blocks everything meanwhile, and nobody asks for the signals in between. All of them are handled, each once, by one
// thread or the other.
#include "guest.h"
#include <stdatomic.h>

enum { kSignals = 100 };
static atomic_int handled, seen[kSignals];

static void handler(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    ++seen[info->si_value.sival_int];
    ++handled;
}
static void *nothing(void *argument) { return argument; }

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGRTMIN, &action, NULL);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        for (int i = 0; i < kSignals; ++i) sigqueue(parent, SIGRTMIN, (union sigval){.sival_int = i});
        _exit(0);
    }
    long made = 0;
    while (handled < kSignals && made < 100000) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, nothing, &made) != 0 || pthread_join(thread, NULL) != 0) break;
        ++made;
    }
    int status;
    IS(waitpid(child, &status, 0) == child && status == 0);
    SAY("%d handled\n", handled);
    int once = 0;
    for (int i = 0; i < kSignals; ++i) once += seen[i] == 1;
    SAY("%d of them once\n", once);
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    IS(sigisemptyset(&mask));
    return 0;
}
