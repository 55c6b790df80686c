// /dev/null, zero, full, urandom; what isn't there.
#include "guest.h"
#include <sys/random.h>

int main(void) {
    char buffer[4096];
    int null = TRY(open("/dev/null", O_RDWR)), zero = TRY(open("/dev/zero", O_RDWR));
    int full = TRY(open("/dev/full", O_RDWR)), random = TRY(open("/dev/urandom", O_RDONLY));
    TRY(write(null, buffer, sizeof buffer));
    TRY(read(null, buffer, sizeof buffer));
    memset(buffer, 1, sizeof buffer);
    TRY(read(zero, buffer, sizeof buffer));
    SAY("%d %d\n", buffer[0], buffer[4095]);
    TRY(write(full, buffer, 1));
    TRY(read(random, buffer, 256));
    int different = 0;
    for (int i = 1; i < 256; ++i) different += buffer[i] != buffer[0];
    IS(different > 100);
    TRY(getrandom(buffer, 16, 0));
    TRY(isatty(null));
    TRY(open("/dev/nothing", O_RDONLY));
    struct stat s;
    fstat(null, &s);
    IS(S_ISCHR(s.st_mode));
    char *zeroes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SAY("%d\n", zeroes[100]);
    return 0;
}
