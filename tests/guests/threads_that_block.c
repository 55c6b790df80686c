// Threads blocked in different calls don't hold each other up; forwarded calls of all go on side by side.
#include "guest.h"

static int pipes[4][2];

static void *echo(void *argument) {
    int i = (int)(long)argument;
    char c;
    while (read(pipes[i][0], &c, 1) == 1 && c != 'q') {
        c += 1;
        write(pipes[(i + 1) % 4][1], &c, 1);
    }
    if (i < 3) write(pipes[i + 1][1], "q", 1);
    return NULL;
}

int main(void) {
    pthread_t threads[3];
    for (int i = 0; i < 4; ++i) pipe(pipes[i]);
    for (long i = 0; i < 3; ++i) pthread_create(&threads[i], NULL, echo, (void *)i);
    char c = 'A';
    for (int round = 0; round < 8; ++round) {
        write(pipes[0][1], &c, 1);
        read(pipes[3][0], &c, 1);
    }
    SAY("%c\n", c);
    write(pipes[0][1], "q", 1);
    for (int i = 0; i < 3; ++i) pthread_join(threads[i], NULL);
    SAY("all gone\n");
    return 0;
}
