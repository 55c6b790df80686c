// Reads a directory too big for one getdents: every name once, the place can be told and sought.
#include "guest.h"
#include <dirent.h>

int main(void) {
    mkdir("many", 0755);
    for (int i = 0; i < 1500; ++i) {
        char name[64];
        snprintf(name, sizeof name, "many/a rather long name for a file, number %d", i);
        close(open(name, O_CREAT | O_WRONLY, 0600));
    }
    DIR *dir = opendir("many");
    long count = 0, sum = 0, middle = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL; ++count) {
        char *number = strrchr(e->d_name, ' ');
        if (number) sum += atol(number);
        if (count == 700) middle = telldir(dir);
    }
    SAY("%ld names, sum %ld\n", count, sum);
    seekdir(dir, middle);
    long rest = 0;
    while (readdir(dir)) ++rest;
    SAY("%ld behind the middle\n", rest);
    closedir(dir);
    return 0;
}
