// fexecve: a program known only by a descriptor, also one without a name, also one closed on exec.
#include "guest.h"

extern char **environ;

static void try(const char *what, int fd) {
    pid_t child = fork();
    if (child == 0) {
        char *words[] = {"sh", "-c", "echo run by descriptor; exit 3", NULL};
        fexecve(fd, words, environ);
        SAY("%s\n", strerrorname_np(errno));
        _exit(1);
    }
    guest_wait_for(what, child);
}

int main(void) {
    int plain = open("/bin/sh", O_RDONLY), hidden = open("/bin/sh", O_PATH | O_CLOEXEC);
    try("plain", plain);
    try("closed on exec", hidden);
    int memory = memfd_create("program", 0);
    char buffer[65536];
    for (ssize_t n; (n = read(plain, buffer, sizeof buffer)) > 0;) write(memory, buffer, n);
    try("memory file", memory);
    int directory = open(".", O_RDONLY);
    try("directory", directory);
    return 0;
}
