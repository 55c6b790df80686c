// sendfile, splice, tee, copy_file_range: the kernel copies between descriptors.
#include "guest.h"
#include <sys/sendfile.h>

int main(void) {
    static char data[100000], back[100000];
    for (size_t i = 0; i < sizeof data; ++i) data[i] = i * 13 >> 3;
    int in = open("in", O_RDWR | O_CREAT, 0600), out = open("out", O_RDWR | O_CREAT, 0600), ends[2], more[2];
    write(in, data, sizeof data);
    off_t offset = 10;
    TRY(sendfile(out, in, &offset, 50000));
    SAY("offset %ld\n", (long)offset);
    TRY(lseek(in, 0, SEEK_SET));
    TRY(sendfile(out, in, NULL, 100));
    TRY(lseek(in, 0, SEEK_CUR));
    pipe(ends), pipe(more);
    offset = 5;
    TRY(splice(in, &offset, ends[1], NULL, 1000, 0));
    TRY(tee(ends[0], more[1], 1000, 0));
    TRY(read(ends[0], back, 2000));
    IS(memcmp(back, data + 5, 1000) == 0);
    TRY(splice(more[0], NULL, out, NULL, 1000, SPLICE_F_MOVE));
    off_t from = 0, to = 60000;
    TRY(copy_file_range(in, &from, out, &to, 5000, 0));
    SAY("offsets %ld %ld\n", (long)from, (long)to);
    TRY(sendfile(out, 99, NULL, 1));
    TRY(splice(in, NULL, out, NULL, 10, 0));
    TRY(fallocate(out, 0, 0, 200000));
    TRY(fallocate(out, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
    TRY(posix_fallocate(out, 0, 10));
    TRY(posix_fadvise(in, 0, 0, POSIX_FADV_SEQUENTIAL));
    TRY(lseek(out, 0, SEEK_END));
    return 0;
}
