// Children that share something with their parent: memory, descriptors, the working directory; or their parent's parent.
#include "guest.h"
#include <sched.h>

static char stack[65536] __attribute__((aligned(16)));
static volatile int seen;
static int descriptor;

static int kcmp(pid_t one, pid_t other) { return syscall(SYS_kcmp, one, other, 1 /* KCMP_VM */, 0, 0) == 0; }

static int child(void *what) {
    const char *which = what;
    if (which[0] != 'p') SAY("memory is the parent's: %d\n", kcmp(getpid(), getppid()));
    if (which[0] == 'm') seen = 1;
    if (which[0] == 'd') descriptor = open("/dev/null", O_RDONLY), dup2(descriptor, 40);
    if (which[0] == 'w') chdir("/");
    if (which[0] == 'p') return getppid() == seen;
    return 5;
}
static void share(const char *what, int flags) {
    seen = 0;
    int status = 0;
    pid_t pid = clone(child, stack + sizeof stack, flags | SIGCHLD, (void *)what);
    if (pid == -1) {
        SAY("%s: %s\n", what, strerrorname_np(errno));
        return;
    }
    IS(waitpid(pid, &status, 0) == pid);
    guest_say_status(what, status);
}

int main(void) {
    share("nothing", 0);
    share("memory", CLONE_VM);
    IS(seen == 1);
    share("descriptors", CLONE_FILES);
    TRY(fcntl(40, F_GETFD));
    TRY(fcntl(3, F_GETFD));
    TRY(close(40));
    IS(close(3) == 0);
    char before[4096], after[4096];
    getcwd(before, sizeof before);
    share("working directory", CLONE_FS);
    IS(strcmp(getcwd(after, sizeof after), "/") == 0 && strcmp(before, "/") != 0);
    chdir(before);
    share("memory, descriptors, directory", CLONE_VM | CLONE_FILES | CLONE_FS);
    IS(seen == 1);
    share("handlers without memory", CLONE_SIGHAND);

    pid_t middle = fork();
    if (middle == 0) {
        seen = getppid();
        pid_t sibling = clone(child, stack + sizeof stack, CLONE_PARENT | SIGCHLD, (void *)"parent");
        _exit(sibling > 0 && waitpid(sibling, NULL, 0) == -1 && errno == ECHILD ? 0 : 1);
    }
    guest_wait_for("the one in the middle", middle);
    int status;
    IS(wait(&status) > 0);
    guest_say_status("its sibling", status);
    return 0;
}
