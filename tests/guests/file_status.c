// stat in all its forms, modes, owners, times, extended attributes.
#include "guest.h"
#include <sys/statfs.h>
#include <sys/xattr.h>

static void show(const char *path) {
    struct stat s;
    if (lstat(path, &s) == -1) { SAY("%s: %s\n", path, strerrorname_np(errno)); return; }
    SAY("%s mode %o links %ld size %ld\n", path, s.st_mode, (long)s.st_nlink, (long)s.st_size);
}

int main(void) {
    char text[64] = {0};
    int fd = open("f", O_CREAT | O_RDWR, 0666);
    write(fd, "12345", 5);
    symlink("f", "l");
    show("f"), show("l"), show("."), show("none");
    TRY(chmod("f", 04711));
    TRY(fchmod(fd, 0600));
    TRY(fchmodat(AT_FDCWD, "f", 0640, 0));
    show("f");
    TRY(chown("f", getuid(), getgid()));
    TRY(lchown("l", -1, -1));
    struct timespec times[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
    TRY(utimensat(AT_FDCWD, "f", times, 0));
    struct stat s;
    TRY(fstat(fd, &s));
    SAY("atime %ld.%09ld mtime %ld.%09ld\n", s.st_atim.tv_sec, s.st_atim.tv_nsec, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
    struct statx x;
    TRY(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x));
    SAY("statx size %llu mtime %lld uid mine %d\n", x.stx_size, (long long)x.stx_mtime.tv_sec, x.stx_uid == getuid());
    TRY(fstatat(AT_FDCWD, "l", &s, AT_SYMLINK_NOFOLLOW));
    IS(S_ISLNK(s.st_mode));
    WORKS(setxattr("f", "user.colour", "green", 5, 0));
    WORKS(getxattr("f", "user.colour", text, sizeof text));
    SAY("[%s]\n", text);
    WORKS(fsetxattr(fd, "user.colour", "red", 3, XATTR_CREATE));
    WORKS(listxattr("f", text, sizeof text));
    WORKS(removexattr("f", "user.colour"));
    WORKS(getxattr("f", "user.colour", text, sizeof text));
    struct statfs fs;
    WORKS(fstatfs(fd, &fs));
    IS(fs.f_namelen == 255);
    TRY(stat("f", (struct stat *)8));
    return 0;
}
