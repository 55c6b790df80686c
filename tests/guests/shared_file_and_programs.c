// Other programs read and write, by calls, a file that is mapped shared; and one is written through a mapping, and run.
#include "guest.h"

int main(void) {
    int fd = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600);
    TRY(ftruncate(fd, 4096));
    char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    strcpy(memory, "a line for cat\n");
    TRY(msync(memory, 4096, MS_SYNC));
    TRY(system("head -n 1 data"));
    strcpy(memory, "and one without msync\n");
    TRY(system("head -n 1 data"));
    TRY(system("printf 'a line of printf' | dd of=data conv=notrunc 2>/dev/null"));
    SAY("the memory has \"%.16s\"\n", memory);
    TRY(msync(memory + 100, 4096, MS_SYNC));
    TRY(msync(memory, 4096, MS_SYNC | MS_ASYNC));
    TRY(munmap(memory, 4096));
    TRY(msync(memory, 4096, MS_SYNC));
    int program = open("program", O_RDWR | O_CREAT | O_TRUNC, 0700);
    static const char text[] = "#!/bin/sh\necho the program runs\n";
    TRY(ftruncate(program, sizeof text - 1));
    memory = mmap(NULL, sizeof text - 1, PROT_READ | PROT_WRITE, MAP_SHARED, program, 0);
    memcpy(memory, text, sizeof text - 1);
    TRY(close(program));
    TRY(system("./program 2>/dev/null"));
    TRY(munmap(memory, sizeof text - 1));
    TRY(system("./program"));
    return 0;
}
