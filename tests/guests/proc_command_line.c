// Arguments and environment as /proc shows them, also when the program has written over them, as servers do to tell
// what they are busy with; to itself and to its child, which reads about its parent.
#include "guest.h"

static void show(pid_t pid, const char *file) {
    char path[64], text[4096] = {0};
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    int fd = open(path, O_RDONLY);
    ssize_t n = 0;
    for (ssize_t more; (more = read(fd, text + n, 7)) > 0;) n += more;      // by little pieces
    close(fd);
    for (ssize_t i = 0; i < n; i++)
        if (text[i] == 0) text[i] = '|';
    SAY("%s of %s: %ld bytes: %.60s\n", file, pid == getpid() ? "itself" : "its parent", (long)n, strrchr(text, '/') ? strrchr(text, '/') : text);
}

int main(int argc, char **argv) {
    if (argc == 1) {
        execve("/proc/self/exe", (char *[]){argv[0], "--first", "second argument", NULL}, (char *[]){"A=1", "B=two", NULL});
        return 1;
    }
    show(getpid(), "cmdline"), show(getpid(), "environ"), show(getpid(), "comm");
    // Longer than the first argument is: the rest is what is behind it.
    size_t room = (size_t)(argv[argc - 1] + strlen(argv[argc - 1]) - argv[0]);
    memset(argv[0], 0, room);
    snprintf(argv[0], room, "busy: waiting for %d", 4);
    show(getpid(), "cmdline");
    pid_t child = fork();
    if (child == 0) { show(getppid(), "cmdline"); show(getppid(), "environ"); _exit(0); }
    guest_wait_for("child", child);
    return 0;
}
