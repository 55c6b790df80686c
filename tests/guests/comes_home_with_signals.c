// What a process has of signals comes home with it: blocked ones that wait, their order and values, an alternate stack
// in use, a handler that is itself the one that makes the call.
#include "guest.h"
#include <sys/ipc.h>
#include <sys/shm.h>

static char alternate[65536];
static int values[8], count, on_alternate;

static void collects(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    values[count++] = info->si_value.sival_int;
}

static void attaches(int signal) {
    char here;
    on_alternate = &here > alternate && &here < alternate + sizeof alternate;
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    char *memory = shmat(id, NULL, 0);
    shmctl(id, IPC_RMID, NULL);
    SAY("attached in the handler of signal %d: %d\n", signal, memory != (char *)-1);
}

int main(void) {
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    sigaltstack(&stack, NULL);
    struct sigaction queued = {.sa_sigaction = collects, .sa_flags = SA_SIGINFO};
    struct sigaction attaching = {.sa_handler = attaches, .sa_flags = SA_ONSTACK};
    sigaction(SIGRTMIN + 1, &queued, NULL);
    sigaction(SIGUSR1, &attaching, NULL);
    signal(SIGTRAP, SIG_IGN);
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1), sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < 5; i++) sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 10 + i});
    raise(SIGHUP);
    raise(SIGUSR1);
    IS(on_alternate);
    sigpending(&pending);
    IS(sigismember(&pending, SIGHUP));
    IS(sigismember(&pending, SIGRTMIN + 1));
    signal(SIGHUP, SIG_IGN);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    for (int i = 0; i < count; i++) SAY("value %d\n", values[i]);
    stack_t now;
    sigaltstack(NULL, &now);
    IS(now.ss_sp == alternate && now.ss_size == sizeof alternate && now.ss_flags == 0);
    raise(SIGUSR1);
    struct sigaction trap;
    sigaction(SIGTRAP, NULL, &trap);
    IS(trap.sa_handler == SIG_IGN);
    raise(SIGTRAP);
    alarm(1);
    signal(SIGALRM, SIG_DFL);
    pause();
    return 0;
}
