// The map of one's own memory: every mapping with its rights, file and name (in an order that doesn't hang on where the
// kernel has put them), and the right one around each thing that the program has.
#include "guest.h"
#include <sys/auxv.h>

struct line { unsigned long start, end, offset, inode; char rights[5], device[16], name[512]; };

static FILE *maps;
static int next(struct line *l) {
    char text[1024];
    if (!fgets(text, sizeof text, maps)) return 0;
    l->name[0] = 0;
    return sscanf(text, "%lx-%lx %4s %lx %15s %lu %511[^\n]", &l->start, &l->end, l->rights, &l->offset, l->device, &l->inode, l->name) >= 6;
}

// The mapping that covers it, as the file says now.
static struct line around(const void *at) {
    struct line l, none = {.name = "nowhere"};
    maps = fopen("/proc/self/maps", "r");
    while (next(&l))
        if (l.start <= (unsigned long)at && (unsigned long)at < l.end) { fclose(maps); return l; }
    fclose(maps);
    return none;
}

static void show(const char *what, const void *at) {
    struct line l = around(at);
    SAY("%s: %s %s %s inode %lu\n", what, l.name, l.rights, l.device, l.inode);
}

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

int main(void) {
    static char texts[100][600];
    struct line l;
    unsigned long last = 0;
    int ascending = 1, lines = 0;
    maps = fopen("/proc/self/maps", "r");
    while (next(&l) && lines < 100) {
        snprintf(texts[lines++], sizeof *texts, "%s %s %lu %s", l.rights, l.device, l.inode, l.name);
        ascending &= l.start >= last && l.end > l.start;
        last = l.end;
    }
    fclose(maps);
    qsort(texts, (size_t)lines, sizeof *texts, by_text);
    for (int i = 0; i < lines; i++) SAY("%s\n", texts[i]);
    IS(ascending);
    int on_stack;
    void *heap = malloc(100);
    show("stack", &on_stack);
    show("heap", heap);
    show("vdso", (void *)getauxval(AT_SYSINFO_EHDR));
    show("libc", (void *)getpid);
    char *own = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(own + 4096, 4096, PROT_NONE);
    show("in the middle", own + 4096);
    munmap(own, 3 * 4096);
    show("unmapped", own);
    int fd = open("some file", O_RDWR | O_CREAT, 0600);
    ftruncate(fd, 8192);
    char *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 4096);
    l = around(mapped);
    struct stat st;
    fstat(fd, &st);
    IS(l.inode == st.st_ino);
    IS(l.offset == 4096);
    IS(strstr(l.name, "/some file") != NULL);
    unlink("some file");
    IS(strstr(around(mapped).name, "/some file (deleted)") != NULL);
    IS(around((void *)0x10000).start == 0);
    return 0;
}
