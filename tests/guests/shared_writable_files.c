// A file mapped shared and writable: what one process writes into it, another one reads there and in the file.
#include "guest.h"

int main(void) {
    int fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
    TRY(ftruncate(fd, 8192));
    char *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    IS(memory != MAP_FAILED);
    pid_t child = fork();
    if (child == 0) {
        strcpy(memory + 5000, "from the child");
        char text[32] = "";
        pread(fd, text, sizeof text - 1, 5000);
        SAY("the file has \"%s\"\n", text);
        return 0;
    }
    guest_wait_for("child", child);
    SAY("the memory has \"%s\"\n", memory + 5000);
    pwrite(fd, "from a write", 13, 100);
    SAY("the memory has \"%s\"\n", memory + 100);
    TRY(msync(memory, 8192, MS_SYNC));
    TRY(munmap(memory, 8192));
    return 0;
}
