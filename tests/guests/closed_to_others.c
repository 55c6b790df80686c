// A process that closes itself to others of its user, as ssh-agent and gpg do: it goes on as before, and so do its
// threads, its children and what it executes.
#include "guest.h"
#include <sys/prctl.h>

static int path_fd;

static void uses_files(const char *who) {
    char byte = 0;
    SAY("%s: dumpable %d\n", who, prctl(PR_GET_DUMPABLE));
    for (int i = 0; i < 3; ++i) {
        char *text = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, path_fd, 0);
        if (text == MAP_FAILED) SAY("mmap: %s\n", strerrorname_np(errno));
        else SAY("%.4s, %d\n", text, munmap(text, 4096));
    }
    TRY(pread(path_fd, &byte, 1, 1));
    TRY(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 99, 0));
    SAY("own descriptors: %s\n", access("/proc/self/fd/0", F_OK) == 0 ? "seen" : strerrorname_np(errno));
    SAY("%s: dumpable %d\n", who, prctl(PR_GET_DUMPABLE));
}

static void *thread(void *unused) {
    uses_files("a thread");
    return unused;
}

static void child_uses_files(const char *who) {
    pid_t child = fork();
    if (child == 0) {
        uses_files(who);
        pid_t grandchild = fork();
        if (grandchild == 0) uses_files("its child"), _exit(3);
        guest_wait_for("grandchild", grandchild);
        _exit(2);
    }
    guest_wait_for("child", child);
}

int main(int argc, char **argv) {
    path_fd = open("text", O_RDWR | O_CREAT, 0600);
    write(path_fd, "text", 4);
    if (argc > 1) return uses_files("executed"), 5;
    TRY(prctl(PR_SET_DUMPABLE, 0));
    uses_files("itself");
    pthread_t other;
    pthread_create(&other, NULL, thread, NULL);
    pthread_join(other, NULL);
    child_uses_files("a child");
    TRY(prctl(PR_SET_DUMPABLE, 1));
    child_uses_files("a child of an open one");
    TRY(prctl(PR_SET_DUMPABLE, 0));
    execl(argv[0], argv[0], "again", NULL);
    return 1;
}
