// The main thread leaves by pthread_exit; the process lives until the last thread ends, status 0.
#include "guest.h"

static pthread_t main_thread;

static void *rest(void *unused) {
    (void)unused;
    pthread_join(main_thread, NULL);
    SAY("main is gone\n");
    int fd = open("still", O_CREAT | O_WRONLY, 0600);
    TRY(write(fd, "works", 5));
    pid_t child = fork();
    if (child == 0) _exit(2);
    guest_wait_for("child", child);
    return NULL;
}

int main(void) {
    pthread_t thread;
    main_thread = pthread_self();
    pthread_create(&thread, NULL, rest, NULL);
    pthread_exit(NULL);
}
