// Scripts: the interpreter line with an argument, scripts started by scripts, /proc/self/comm.
#include "guest.h"

static void put(const char *name, const char *content) {
    int fd = open(name, O_WRONLY | O_CREAT, 0755);
    write(fd, content, strlen(content));
    close(fd);
}

int main(void) {
    put("plain", "#!/bin/sh\necho \"$0 got $# arguments: $*\"\ncat /proc/$$/comm\nexit 11\n");
    put("with_option", "#!/bin/sh -e\nfalse\necho not reached\n");
    put("nested", "#!./plain inner\n");
    const char *names[] = {"./plain", "./with_option", "./nested"};
    for (int i = 0; i < 3; ++i) {
        pid_t child = fork();
        if (child == 0) {
            execl(names[i], "zeroth", "one", "two words", NULL);
            SAY("%s: %s\n", names[i], strerrorname_np(errno));
            _exit(100);
        }
        guest_wait_for(names[i], child);
    }
    return 0;
}
