// The main thread has left. What the kernel knows of the process by that thread's number is gone; the process is not.
#include "guest.h"
#include <dirent.h>

static pthread_t main_thread;
static int pipe_ends[2], caught;

static void on_signal(int number) { caught = number; }

static void *another(void *text) {
    SAY("another thread: %s\n", (char *)text);
    return NULL;
}

static void maps_a_file(int fd) {
    char *text = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    if (text == MAP_FAILED) SAY("mmap: %s\n", strerrorname_np(errno));
    else SAY("mapped: %.5s\n", text);
}

static void *rest(void *program) {
    char buffer[16] = "";
    pthread_t more;
    pthread_join(main_thread, NULL);
    mkdir("below", 0700);
    TRY(chdir("below"));
    int fd = open("../file", O_RDWR | O_CREAT, 0600);
    TRY(write(fd, "hello", 5));
    TRY(lseek(fd, 0, SEEK_CUR));
    TRY(pread(fd, buffer, sizeof buffer, 1));
    maps_a_file(fd);
    TRY(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 99, 0));
    TRY(write(pipe_ends[1], "piped", 5));
    TRY(read(pipe_ends[0], buffer, sizeof buffer));
    pthread_create(&more, NULL, another, "started");
    pthread_join(more, NULL);
    signal(SIGUSR1, on_signal);
    TRY(kill(getpid(), SIGUSR1));
    IS(caught == SIGUSR1);
    IS(opendir("/proc/self/fd") == NULL);
    IS(opendir("/proc/thread-self/fd") != NULL);
    pid_t child = fork();
    if (child == 0) maps_a_file(fd), _exit(2);
    guest_wait_for("child", child);
    child = vfork();
    if (child == 0) execl("/bin/echo", "echo", "a child", NULL), _exit(1);
    guest_wait_for("echo", child);
    if (program) execl(program, program, "again", NULL);
    SAY("execl: %s\n", strerrorname_np(errno));
    return NULL;
}

int main(int argc, char **argv) {
    static char program[4096];
    if (argc > 1) return SAY("executed by a thread\n"), 4;
    if (!realpath(argv[0], program)) return 1;
    pipe(pipe_ends);
    main_thread = pthread_self();
    pthread_t thread;
    pthread_create(&thread, NULL, rest, program);
    pthread_exit(NULL);
}
