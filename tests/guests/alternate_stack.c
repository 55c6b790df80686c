// SIGSEGV on a stack overflow is handled on the alternate stack; a handler repairs what made the fault.
#include "guest.h"
#include <setjmp.h>

static sigjmp_buf back;
static char *page;
static volatile int repaired;

static void on_fault(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    stack_t stack;
    if (info->si_addr == page) {
        repaired = info->si_code;
        mprotect(page, 4096, PROT_READ | PROT_WRITE);
        return;                                                  // the instruction runs again
    }
    sigaltstack(NULL, &stack);
    SAY("overflow handled, on the alternate stack %d\n", (stack.ss_flags & SS_ONSTACK) != 0);
    siglongjmp(back, 1);
}

static int deeper(volatile char *above) {
    volatile char here[4096];
    here[0] = above ? above[0] + 1 : 0;
    return deeper(here) + here[0];
}

int main(void) {
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536}, old;
    TRY(sigaltstack(&stack, &old));
    IS(old.ss_flags == SS_DISABLE);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, NULL);
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[0] = 'r';
    SAY("repaired, code %d, value %c\n", repaired, page[0]);
    if (sigsetjmp(back, 1) == 0) SAY("%d\n", deeper(NULL));
    if (sigsetjmp(back, 1) == 0) SAY("%d\n", deeper(NULL));
    SAY("and again after a jump\n");
    return 0;
}
