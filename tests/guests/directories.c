// mkdir, rename, link, symlink, readdir, the *at calls, and what they refuse.
#include "guest.h"
#include <dirent.h>
#include <stdlib.h>

static void list(const char *path) {
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    SAY("%s has %d:", path, count);
    for (int i = 0; i < count; ++i) SAY(" %s(%d)", names[i]->d_name, names[i]->d_type);
    SAY("\n");
}

int main(void) {
    char text[100] = {0};
    TRY(mkdir("d", 0755));
    TRY(mkdir("d", 0755));
    TRY(mkdir("d/e/f", 0755));
    int dir = TRY(open("d", O_RDONLY | O_DIRECTORY));
    TRY(mkdirat(dir, "e", 0700));
    TRY(close(openat(dir, "file", O_CREAT | O_WRONLY, 0644)));
    TRY(symlinkat("file", dir, "soft"));
    TRY(linkat(dir, "file", dir, "hard", 0));
    TRY(readlinkat(dir, "soft", text, sizeof text));
    SAY("[%s]\n", text);
    list("d");
    TRY(rename("d/file", "d/e/moved"));
    TRY(renameat2(dir, "hard", dir, "soft", RENAME_NOREPLACE));
    TRY(renameat2(dir, "hard", dir, "soft", RENAME_EXCHANGE));
    TRY(rmdir("d"));
    TRY(rmdir("d/e"));
    TRY(unlinkat(dir, "e", 0));
    TRY(symlink("loop", "loop"));
    TRY(open("loop", O_RDONLY));
    list("d");
    list("d/e");
    TRY(chdir("d/e"));
    TRY(access("moved", F_OK));
    TRY(fchdir(dir));
    TRY(access("soft", F_OK));
    TRY(mknodat(dir, "fifo", S_IFIFO | 0600, 0));
    TRY(readlink("fifo", text, sizeof text));
    list(".");
    return 0;
}
