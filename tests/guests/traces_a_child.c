// A debugger in a nutshell: the child asks to be traced, stops at its exec, its parent reads a word of its memory and
// lets it go on.
#include "guest.h"
#include <sys/ptrace.h>
#include <sys/user.h>

int main(int argc, char **argv) {
    if (argc > 1) {
        SAY("traced and executed\n");
        return 6;
    }
    pid_t child = fork();
    if (child == 0) {
        TRY(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
        execl("/proc/self/exe", argv[0], "child", NULL);
        _exit(1);
    }
    int status;
    if (waitpid(child, &status, 0) == child) guest_say_status("child", status);
    struct user_regs_struct registers;
    TRY(ptrace(PTRACE_GETREGS, child, NULL, &registers));
    errno = 0;
    IS(ptrace(PTRACE_PEEKDATA, child, registers.rip, NULL) != -1 || errno == 0);
    long let_go = ptrace(PTRACE_CONT, child, NULL, NULL);
    if (waitpid(child, &status, 0) == child) guest_say_status("child", status);
    TRY(let_go);
    return 0;
}
