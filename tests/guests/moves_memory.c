// mremap in all kinds: grown in place and not, moved, fixed, shrunk, left in place, duplicated, of a file, refused.
#include "guest.h"

enum { kPage = 4096 };

static char *map(size_t pages, int flags, int fd) {
    return mmap(NULL, pages * kPage, PROT_READ | PROT_WRITE, flags, fd, 0);
}

int main(void) {
    char *room = map(32, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    munmap(room + kPage, 7 * kPage);
    room[0] = 'g';
    IS(mremap(room, kPage, 4 * kPage, 0) == room);
    SAY("%c %d\n", room[0], room[3 * kPage]);
    IS(mremap(room, 4 * kPage, 12 * kPage, 0) == MAP_FAILED);
    SAY("no room: %s\n", strerrorname_np(errno));
    char *moved = mremap(room, 4 * kPage, 64 * kPage, MREMAP_MAYMOVE);
    IS(moved != room && moved[0] == 'g');
    unsigned char present;
    TRY(mincore(room, kPage, &present));
    IS(mremap(moved, 64 * kPage, 2 * kPage, 0) == moved);
    TRY(mincore(moved + 2 * kPage, kPage, &present));
    IS(mremap(moved, 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, room + 10 * kPage) == room + 10 * kPage);
    moved = room + 10 * kPage;
    char *copy = mremap(moved, 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    SAY("moved without unmapping: %c, left behind %d\n", copy[0], moved[0]);

    char *shared = map(2, MAP_SHARED | MAP_ANONYMOUS, -1);
    shared[0] = 's';
    char *again = mremap(shared, 0, 2 * kPage, MREMAP_MAYMOVE);
    if (again != MAP_FAILED) again[1] = 'a';
    SAY("mapped twice: %c %c\n", again == MAP_FAILED ? '-' : again[0], shared[1]);
    IS(mremap(copy, 0, kPage, MREMAP_MAYMOVE) == MAP_FAILED);

    int fd = open("f", O_RDWR | O_CREAT, 0600);
    static char data[3 * kPage];
    for (size_t i = 0; i < sizeof data; ++i) data[i] = '0' + i / kPage;
    write(fd, data, sizeof data);
    char *file = map(1, MAP_PRIVATE, fd);
    file[5] = 'w';
    file = mremap(file, kPage, 3 * kPage, MREMAP_MAYMOVE);
    SAY("file: %c %c %c %c\n", file[0], file[5], file[kPage], file[2 * kPage]);
    char *over = mremap(copy, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, file + kPage);
    IS(over == file + kPage && file[kPage] == 'g' && file[2 * kPage] == '2');
    file = mremap(file + 2 * kPage, kPage, kPage, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    SAY("left behind of the file: %c\n", over[kPage]);

    IS(mremap(room, kPage, kPage, MREMAP_FIXED, room) == MAP_FAILED);
    SAY("%s\n", strerrorname_np(errno));
    IS(mremap(room + 1, kPage, kPage, 0) == MAP_FAILED);
    IS(mremap(over, 3 * kPage, 4 * kPage, MREMAP_MAYMOVE) == MAP_FAILED);
    SAY("over two kinds: %s\n", strerrorname_np(errno));
    return 0;
}
