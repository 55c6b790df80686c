// A file mapped shared that grows to many times its size, and a big one: nothing is different there.
#include "guest.h"

int main(void) {
    int fd = open("grows", O_RDWR | O_CREAT | O_TRUNC, 0600);
    TRY(ftruncate(fd, 4096));
    size_t big = 8 << 20;
    char *memory = mmap(NULL, big, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), text[16] = "";
    strcpy(memory, "small");
    TRY(ftruncate(fd, (off_t)big));
    strcpy(memory + big - 10, "big");
    pread(fd, text, 3, (off_t)big - 10);
    SAY("the file has \"%s\" and \"%s\"\n", memory, text);
    char *second = mmap(NULL, big, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    SAY("the second mapping has \"%s\"\n", second + big - 10);
    TRY(munmap(memory, big));
    strcpy(second, "by the second");
    pread(fd, text, 13, 0);
    SAY("the file has \"%s\"\n", text);
    return 0;
}
