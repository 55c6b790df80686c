// One process reads and writes another's memory: by process_vm_readv and its like, by /proc/PID/mem, and its map and
// the robust list tell where things are.
#include "guest.h"
#include <sys/uio.h>

enum { kBig = 3 << 20 };
static char *page_of_each;       // at the same place in both, and not the same memory

static int to_child[2], from_child[2];

static void child_says(char c) { (void)!write(from_child[1], &c, 1); }
static char child_hears(void) { char c = 0; (void)!read(to_child[0], &c, 1); return c; }

static void child(void) {
    strcpy(page_of_each, "what the child has");
    memset(page_of_each + 4096, 'c', kBig);
    mprotect(page_of_each + 8192, 4096, PROT_NONE);
    child_says('r');
    child_hears();
    SAY("child sees: %s\n", page_of_each);
    _exit(0);
}

int main(void) {
    page_of_each = mmap(NULL, kBig + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(page_of_each, "what the parent has");
    int file = open("mapped", O_RDWR | O_CREAT, 0600);
    pwrite(file, "in the file", 11, 1 << 20);
    char *mapped = mmap(NULL, 2 << 20, PROT_READ, MAP_PRIVATE, file, 0);
    pipe(to_child), pipe(from_child);
    pid_t pid = fork();
    if (pid == 0) child();
    char c;
    (void)!read(from_child[0], &c, 1);
    char text[64] = {0}, *big = malloc(kBig);
    struct iovec here = {text, 19}, there = {page_of_each, 19}, nowhere = {(void *)8, 8};
    TRY(process_vm_readv(pid, &here, 1, &there, 1, 0));
    SAY("%s\n", text);
    struct iovec two[2] = {{big, 5}, {big + 100, 4091}}, three[3] = {{page_of_each + 4096, 1}, {page_of_each + 4100, 0}, {page_of_each + 4090, 4096}};
    TRY(process_vm_readv(pid, two, 2, three, 3, 0));
    SAY("%c%d%c\n", big[0], big[1], big[4090 + 100]);
    struct iovec all = {big, kBig}, theirs = {page_of_each + 4096, kBig};
    TRY(process_vm_readv(pid, &all, 1, &theirs, 1, 0));              // the second page of it is closed
    TRY(process_vm_readv(pid, &here, 1, &nowhere, 1, 0));
    TRY(process_vm_readv(pid, &nowhere, 1, &there, 1, 0));
    TRY(process_vm_readv(pid, (void *)8, 1, &there, 1, 0));
    TRY(process_vm_readv(pid, &here, 1, &there, 1, 7));
    TRY(process_vm_readv(pid, &here, 5000, &there, 1, 0));
    TRY(process_vm_readv(pid, &here, 1, &there, 0, 0));
    void *list;
    size_t size;
    WORKS(syscall(SYS_get_robust_list, pid, &list, &size));
    IS(syscall(SYS_kcmp, getpid(), pid, 1 /* KCMP_VM */, 0, 0) > 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = open(path, O_RDWR);
    TRY(pread(fd, text, 19, (off_t)page_of_each));
    SAY("%s\n", text);
    TRY(lseek(fd, (off_t)page_of_each + 5, SEEK_SET) == (off_t)page_of_each + 5);
    TRY(read(fd, text, 3));
    IS(lseek(fd, 0, SEEK_CUR) == (off_t)page_of_each + 8);
    SAY("%.3s\n", text);
    TRY(pwrite(fd, "WHAT", 4, (off_t)page_of_each));
    TRY(pread(fd, text, 8, 8));
    TRY(pread(fd, text, 12, (off_t)(mapped + (1 << 20))));
    SAY("%s\n", text);
    struct iovec untouched = {mapped + (1 << 20) - 4096, 4096}, into = {big, 4096};
    TRY(process_vm_readv(pid, &into, 1, &untouched, 1, 0));
    strcpy(text, "that the PARENT gives");
    struct iovec give = {text + 9, 6}, take = {page_of_each + 9, 6};
    TRY(process_vm_writev(pid, &give, 1, &take, 1, 0));
    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    int pages = open(path, O_RDONLY);
    uint64_t page = 0;
    TRY(pread(pages, &page, sizeof page, (off_t)page_of_each / 4096 * 8));
    IS(page >> 63);
    (void)!write(to_child[1], "g", 1);
    guest_wait_for("child", pid);
    TRY(process_vm_readv(pid, &here, 1, &there, 1, 0));
    TRY(read(fd, text, 3));
    int self = open("/proc/self/mem", O_RDWR);
    TRY(pread(self, text, 19, (off_t)page_of_each));
    SAY("%s\n", text);
    TRY(pwrite(self, "this", 4, (off_t)page_of_each));
    SAY("%s\n", page_of_each);
    return 0;
}
