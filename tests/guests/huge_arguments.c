// 1 MiB of arguments and 128 KiB of environment arrive whole.
#include "guest.h"

int main(int argc, char **argv, char **envp) {
    if (argc > 1) {
        unsigned long sum = 0, size = 0, variables = 0;
        for (int i = 0; i < argc; ++i)
            for (char *c = argv[i]; *c; ++c, ++size) sum = sum * 31 + *c;
        for (char **e = envp; *e; ++e) variables += strlen(*e);
        SAY("%d arguments, %lu bytes, sum %lu, environment %lu\n", argc, size, sum, variables);
        return 0;
    }
    static char *words[1030], *environment[130];
    words[0] = "huge";
    for (int i = 1; i <= 1024; ++i) {
        words[i] = malloc(1024);
        memset(words[i], 'a' + i % 26, 1023);
        words[i][1023] = 0;
    }
    for (int i = 0; i < 128; ++i) {
        environment[i] = malloc(1025);
        memset(environment[i], 'A', 1024);
        snprintf(environment[i], 10, "V%07d", i);
        environment[i][8] = '=';
        environment[i][1024] = 0;
    }
    char self[4096] = {0};
    readlink("/proc/self/exe", self, sizeof self - 1);
    execve(self, words, environment);
    SAY("%s\n", strerrorname_np(errno));
    return 1;
}
