// A file mapped shared and read and written by calls as well: each sees at once what the other has done.
#include "guest.h"

static char *map(int prot, int fd, size_t bytes) { return mmap(NULL, bytes, prot, MAP_SHARED, fd, 0); }

int main(void) {
    int fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600), reader = open("mapped", O_RDONLY);
    TRY(ftruncate(fd, 3 * 4096));
    char *memory = map(PROT_READ | PROT_WRITE, fd, 3 * 4096), *again = map(PROT_READ, reader, 4096), text[32] = "";
    for (int i = 0; i < 200; i++) {
        memory[i * 60] = (char)i;
        pread(reader, text, 1, i * 60);
        if (text[0] != (char)i) SAY("%d: the file has %d\n", i, text[0]);
        text[0] = (char)(i + 100);
        pwrite(fd, text, 1, i * 60 + 1);
        if (memory[i * 60 + 1] != (char)(i + 100)) SAY("%d: the memory has %d\n", i, memory[i * 60 + 1]);
    }
    strcpy(memory + 10, "by memory");
    SAY("by the other mapping: \"%s\"\n", again + 10);
    IS(mprotect(again, 4096, PROT_READ | PROT_WRITE) == -1);
    TRY(pwrite(fd, memory + 10, 9, 8191));
    SAY("written from memory: \"%.9s\"\n", memory + 8191);
    TRY(pread(fd, memory + 100, 9, 10));
    pread(reader, text, 9, 100);
    SAY("read into memory, and by a call: \"%s\"\n", text);
    TRY(munmap(memory, 3 * 4096));
    TRY(close(fd));
    SAY("by the mapping that is left: \"%s\"\n", again + 100);
    return 0;
}
