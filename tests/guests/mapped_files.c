// Private file mappings: offset, content behind the end, private writes, changes seen or not, refusals.
#include "guest.h"

int main(void) {
    static char data[3 * 4096 + 100];
    for (size_t i = 0; i < sizeof data; ++i) data[i] = 'a' + i / 4096;
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    write(fd, data, sizeof data);
    char *p = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    SAY("%c %c %c %c %d\n", p[0], p[4096], p[8192], p[3 * 4096 + 99], p[3 * 4096 + 100]);
    p[0] = 'X';
    char first;
    pread(fd, &first, 1, 0);
    SAY("file has %c, mapping %c\n", first, p[0]);
    char *second = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 2 * 4096);
    SAY("at an offset: %c\n", second[0]);
    TRY(close(fd));
    SAY("after close: %c\n", p[4097]);
    TRY(unlink("f"));
    SAY("after unlink: %c\n", second[1]);
    pid_t child = fork();
    if (child == 0) {
        SAY("child sees %c %c\n", p[0], p[8192]);
        p[0] = 'C';
        _exit(0);
    }
    guest_wait_for("child", child);
    SAY("parent still has %c\n", p[0]);
    int read_only = open("g", O_RDONLY | O_CREAT, 0400), write_only = open("h", O_WRONLY | O_CREAT, 0600);
    WORKS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, write_only, 0));
    WORKS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 99, 0));
    WORKS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, read_only, 1));
    WORKS(mmap(NULL, 4096, PROT_READ, 0, read_only, 0));
    int dir = open(".", O_RDONLY);
    WORKS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, dir, 0));
    TRY(open("next", O_RDONLY | O_CREAT, 0600));     // numbers go on as if nothing had been mapped
    return 0;
}
