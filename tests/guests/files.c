// Writes, reads, seeks, appends, truncates: each result and the content at the end.
#include "guest.h"

int main(void) {
    char buffer[64] = {0};
    int fd = TRY(open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
    TRY(open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
    TRY(write(fd, "hello world", 11));
    TRY(lseek(fd, 6, SEEK_SET));
    TRY(read(fd, buffer, sizeof buffer));
    SAY("[%s]\n", buffer);
    TRY(read(fd, buffer, sizeof buffer));
    TRY(pwrite(fd, "W", 1, 6));
    TRY(pread(fd, buffer, 5, 6));
    SAY("[%.5s]\n", buffer);
    TRY(lseek(fd, -3, SEEK_END));
    TRY(lseek(fd, -300, SEEK_END));
    TRY(ftruncate(fd, 5));
    TRY(lseek(fd, 0, SEEK_CUR));
    TRY(write(fd, "x", 1));                      // leaves a hole
    TRY(lseek(fd, 0, SEEK_HOLE));
    TRY(close(fd));
    TRY(close(fd));
    fd = TRY(open("a", O_WRONLY | O_APPEND));
    TRY(write(fd, "end", 3));
    TRY(lseek(fd, 0, SEEK_SET));
    TRY(write(fd, "END", 3));
    TRY(read(fd, buffer, 1));
    TRY(fsync(fd));
    TRY(fdatasync(fd));
    TRY(close(fd));
    TRY(truncate("a", 20));
    TRY(open("missing", O_RDONLY));
    TRY(open("a/b", O_RDONLY));
    TRY(open(".", O_WRONLY));
    TRY(creat("b", 0600));
    TRY(access("b", R_OK));
    TRY(access("none", F_OK));
    TRY(unlink("b"));
    TRY(unlink("b"));
    return 0;
}
