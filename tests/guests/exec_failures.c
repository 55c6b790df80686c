// exec that fails leaves the process as it was, with the right errno.
#include "guest.h"

static void put(const char *name, const char *content, mode_t mode) {
    int fd = open(name, O_WRONLY | O_CREAT, 0700);
    write(fd, content, strlen(content));
    close(fd);
    chmod(name, mode);
}

int main(void) {
    char *words[] = {"x", NULL};
    put("not_executable", "#!/bin/sh\n", 0644);
    put("no_interpreter", "#!/does/not/exist\n", 0755);
    put("garbage", "\177ELFnonsense", 0755);
    put("empty", "", 0755);
    TRY(execv("missing", words));
    TRY(execv("not_executable", words));
    TRY(execv("no_interpreter", words));
    TRY(execv("garbage", words));
    TRY(execv("empty", words));
    TRY(execv(".", words));
    TRY(execv("empty/x", words));
    TRY(execvp("no such command", words));
    int busy = open("busy", O_WRONLY | O_CREAT, 0755);
    write(busy, "#!/bin/sh\n", 10);
    TRY(execv("busy", words));
    char *huge = malloc(200000);
    memset(huge, 'h', 199999);
    huge[199999] = 0;
    char *too_long[] = {"x", huge, NULL};
    TRY(execv("/bin/true", too_long));
    SAY("still the same process\n");
    return 0;
}
