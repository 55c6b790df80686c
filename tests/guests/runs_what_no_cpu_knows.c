// Instructions that no CPU knows: a handler hears of them and steps over; without one the program dies.
#include "guest.h"
#include <ucontext.h>

static volatile int met;

static void on_illegal(int number, siginfo_t *info, void *context) {
    ucontext_t *c = context;
    int at_rip = (greg_t)info->si_addr == c->uc_mcontext.gregs[REG_RIP];
    SAY("SIG%s code %d at the instruction %d\n", sigabbrev_np(number), info->si_code, at_rip);
    c->uc_mcontext.gregs[REG_RIP] += met++ == 0 ? 2 : 1;
}

int main(int argc, char **argv) {
    struct sigaction action = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
    double d = 1.5 * argc;
    __asm__ volatile("ud2");                          // made for it
    SAY("goes on, %g\n", d);
    if (argc > 1 && strcmp(argv[1], "dies") == 0) signal(SIGILL, SIG_DFL);
    if (argc > 1 && strcmp(argv[1], "trap") == 0) return 0;
    __asm__ volatile(".byte 0x06");                   // was an instruction before 64 bits
    SAY("goes on, %g\n", d);
    return met;
}
