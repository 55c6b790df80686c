// vfork: the parent waits until the child has exec'ed or ended; posix_spawn rests on it.
#include "guest.h"
#include <spawn.h>

extern char **environ;

int main(void) {
    pid_t child = vfork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "echo exec after vfork; exit 4", NULL);
        _exit(1);
    }
    guest_wait_for("child", child);
    child = vfork();
    if (child == 0) _exit(5);
    guest_wait_for("child that never execs", child);
    char *words[] = {"sh", "-c", "echo spawned; cat; exit 6", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/etc/hostname", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "out", O_WRONLY | O_CREAT, 0600);
    SAY("posix_spawn %d\n", posix_spawn(&child, "/bin/sh", &actions, NULL, words, environ));
    guest_wait_for("spawned", child);
    SAY("posix_spawn of nothing %s\n", strerrorname_np(posix_spawn(&child, "/none", NULL, NULL, words, environ)));
    SAY("posix_spawnp %d\n", posix_spawnp(&child, "true", NULL, NULL, words, environ));
    guest_wait_for("true", child);
    SAY("system %d popen:\n", WEXITSTATUS(system("exit 3")));
    char line[100] = {0};
    FILE *p = popen("echo through a pipe", "r");
    SAY("%s", fgets(line, sizeof line, p));
    SAY("pclose %d\n", pclose(p));
    return 0;
}
