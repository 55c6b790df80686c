// Sees its arguments, its whole environment, its name and its working directory.
#include "guest.h"
#include <sys/auxv.h>

int main(int argc, char **argv, char **envp) {
    char path[4096];
    for (int i = 0; i < argc; ++i) SAY("argv[%d]=%s\n", i, argv[i]);
    for (char **e = envp; *e; ++e) SAY("%s\n", *e);
    SAY("cwd %s\n", getcwd(path, sizeof path));
    SAY("invoked as %s\n", program_invocation_short_name);
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n > 0) path[n] = 0;
    IS(n > 0 && strcmp(strrchr(path, '/'), "/arguments") == 0);
    SAY("AT_EXECFN %s\n", (char *)getauxval(AT_EXECFN));
    SAY("uid %u %u gid %u %u secure %lu\n", getuid(), geteuid(), getgid(), getegid(), getauxval(AT_SECURE));
    SAY("page %ld\n", sysconf(_SC_PAGESIZE));
    return 0;
}
