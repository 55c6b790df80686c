// A memfd mapped shared by the process that made it and by its child; seals count its mappings.
#include "guest.h"

int main(void) {
    int fd = memfd_create("guest", MFD_ALLOW_SEALING);
    TRY(ftruncate(fd, 8192));
    char *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    IS(memory != MAP_FAILED);
    pid_t child = fork();
    if (child == 0) {
        char *mine = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        strcpy(mine + 4090, "across the pages");
        return 0;
    }
    guest_wait_for("child", child);
    SAY("the memory has \"%s\"\n", memory + 4090);
    char text[20] = "";
    TRY(pread(fd, text, 16, 4090));
    SAY("the file has \"%s\"\n", text);
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    char *moved = mremap(memory, 8192, 16384, MREMAP_MAYMOVE);
    IS(moved != MAP_FAILED);
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    strcpy(moved, "the last word");
    TRY(munmap(moved, 16384));
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    memset(text, 0, sizeof text);
    TRY(pread(fd, text, 13, 0));
    SAY("the file has \"%s\"\n", text);
    IS(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    memory = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
    SAY("a private mapping has \"%s\"\n", memory);
    return 0;
}
