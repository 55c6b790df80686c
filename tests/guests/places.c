// umask, working directory, paths through it, /proc/self/cwd and fd, names of the machine.
#include "guest.h"
#include <sys/utsname.h>

int main(void) {
    char path[4096], other[4096];
    SAY("umask %o\n", umask(077));
    close(open("private", O_CREAT | O_WRONLY, 0666));
    struct stat s;
    stat("private", &s);
    SAY("mode %o\n", s.st_mode & 0777);
    mkdir("a", 0755), mkdir("a/b", 0755);
    TRY(chdir("a/b"));
    IS(strcmp(strrchr(getcwd(path, sizeof path), '/'), "/b") == 0);
    TRY(access("../../private", F_OK));
    ssize_t n = readlink("/proc/self/cwd", other, sizeof other - 1);
    other[n > 0 ? n : 0] = 0;
    IS(strcmp(path, other) == 0);
    rename("../b", "../renamed");
    IS(strcmp(strrchr(getcwd(path, sizeof path), '/'), "/renamed") == 0);
    TRY(chdir(".."));
    TRY(rmdir("renamed"));
    TRY(chdir("nowhere"));
    IS(realpath(".", path) != NULL);
    int fd = open("/etc/hostname", O_RDONLY);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    n = readlink(path, other, sizeof other - 1);
    other[n > 0 ? n : 0] = 0;
    SAY("%s\n", other);
    struct utsname names;
    uname(&names);
    char host[100];
    gethostname(host, sizeof host);
    SAY("%s %s %s %s %s\n", names.sysname, names.nodename, names.release, names.version, names.machine);
    IS(strcmp(host, names.nodename) == 0);
    TRY(syscall(SYS_getcwd, path, 2));
    return 0;
}
