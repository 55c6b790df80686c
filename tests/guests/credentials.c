// Who a program is, and how it was called. case_programs_that_raise_privileges gives copies of it other users and
// capabilities.
#include "guest.h"
#include <sys/auxv.h>
#include <sys/prctl.h>

static void say_line_of_status(const char *field) {
    FILE *status = fopen("/proc/self/status", "r");
    for (char line[256]; status && fgets(line, sizeof line, status);)
        if (strncmp(line, field, strlen(field)) == 0) SAY("%s", line);
    if (status) fclose(status);
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int main(int argc, char **argv) {
    if (argc > 2 && strcmp(argv[1], "by-descriptor") == 0) {
        int fd = open(argv[2], O_PATH | O_CLOEXEC);
        char *arguments[] = {"by-descriptor", NULL}, *environment[] = {"A=B", NULL};
        fexecve(fd, arguments, environment);
        SAY("fexecve: %s\n", strerrorname_np(errno));
        return 1;
    }
    say_line_of_status("Uid:");
    say_line_of_status("Gid:");
    say_line_of_status("CapEff:");
    SAY("secure %lu, dumpable %d, one variable: %d\n", getauxval(AT_SECURE), prctl(PR_GET_DUMPABLE),
        environ[0] != NULL && environ[1] == NULL);
    for (int i = 0; i < argc; ++i) SAY("argument %s\n", base_name(argv[i]));
    if (strcmp(argv[0], "by-descriptor") == 0) return 7;
    char name[16];
    prctl(PR_GET_NAME, name);
    SAY("name %s, called %s\n", name, base_name((const char *)getauxval(AT_EXECFN)));
    return 7;
}
