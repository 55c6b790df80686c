// O_DIRECT: what the device asks of a buffer's place is asked of the guest's buffer.
#include "guest.h"

int main(void) {
    char *page = aligned_alloc(4096, 3 * 4096), whole[4096] = "-";
    memset(page, 'p', 3 * 4096);
    int fd = TRY(open("d", O_RDWR | O_CREAT | O_DIRECT, 0600));
    if (fd < 0) return 0;
    TRY(pwrite(fd, page, 4096, 0));
    for (int off = 1; off < 4096; off *= 2) {
        SAY("%d into the page:\n", off);
        memset(page, 'q', 4096 + off);
        TRY(pwrite(fd, page + off, 4096, 4096));
        TRY(pread(fd, page + off, 4096, 0));
        SAY("%c\n", page[off]);
    }
    TRY(pread(fd, page + 512, 4097, 0));
    TRY(pread(fd, page, 4096, 100));
    int cached = TRY(open("d", O_RDONLY));
    TRY(pread(cached, whole, sizeof whole, 4096));
    SAY("%c %c\n", whole[0], whole[4095]);
    return 0;
}
