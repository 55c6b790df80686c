// The same calls from the same places, thousands of times, and in between everything that changes a process's shape:
// bad pointers, forks, a vfork, threads, an exec. No call may come out otherwise for having been made often.
#include "guest.h"
#include <spawn.h>

enum { rounds = 1500 };

static void use_files(const char *name, int n) {
    int fd = open(name, O_RDWR | O_CREAT, 0600);
    long sum = 0, failed = 0;
    for (int i = 0; i < n; i++) {
        char c = (char)i, back = 0;
        struct stat st;
        if (pwrite(fd, &c, 1, i % 100) != 1 || pread(fd, &back, 1, i % 100) != 1 || back != c) failed++;
        if (lseek(fd, i % 50, SEEK_SET) != i % 50 || read(fd, &back, 1) != 1) failed++;
        if (fstat(fd, &st) != 0 || stat(name, &st) != 0) failed++;
        sum += st.st_size;
        int other = open(name, O_RDONLY);
        if (other < 0 || close(other) != 0) failed++;
        if (access("/no/such/file", R_OK) != -1 || errno != ENOENT) failed++;
    }
    SAY("files: %ld failed, sizes %ld\n", failed, sum);
    close(fd);
}

static void use_pipe(int n) {
    int ends[2];
    pipe(ends);
    long failed = 0;
    for (int i = 0; i < n; i++) {
        unsigned number = (unsigned)i * 2654435761u, back = 0;
        if (write(ends[1], &number, sizeof number) != sizeof number) failed++;
        if (read(ends[0], &back, sizeof back) != sizeof back || back != number) failed++;
    }
    TRY(write(ends[1], (void *)8, 3));
    TRY(write(ends[1], "abc", 3));
    TRY(read(ends[0], (void *)8, 3));
    char text[4] = "";
    TRY(read(ends[0], text, 3));
    SAY("pipe: %ld failed, then [%s]\n", failed, text);
    TRY(read(12345, text, 1));
    TRY(open((void *)8, O_RDONLY));
    TRY(open("/no/such/file", O_RDONLY));
    close(ends[1]);
    TRY(read(ends[0], text, 3));
    close(ends[0]);
    TRY(write(ends[1], text, 3));
}

static void *in_a_thread(void *name) {
    use_files(name, 200);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc > 1) {
        use_files("again", 300);
        return 7;
    }
    use_files("first", rounds);
    use_pipe(rounds);
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            use_files("child", 400);
            use_pipe(300);
            _exit(i);
        }
        guest_wait_for("child", child);
        use_pipe(300);
    }
    pid_t child = vfork();
    if (child == 0) {
        char c = 'v';
        for (int i = 0; i < 20; i++) write(1, &c, 1);
        write(1, "\n", 1);
        _exit(3);
    }
    guest_wait_for("vfork's child", child);
    use_pipe(300);
    pthread_t threads[3];
    char *names[] = {"one", "two", "three"};
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, in_a_thread, names[i]);
        pthread_join(threads[i], NULL);
    }
    use_files("first", rounds);
    execl("/proc/self/exe", argv[0], "again", NULL);
    return 1;
}
