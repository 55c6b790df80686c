// Code that is made while it runs: written and executed in one place, made executable afterwards, changed under its own
// feet, in a child, by a thread while another runs it.
#include "guest.h"

enum { kPage = 4096 };
typedef int (*function)(void);

// mov $value, %eax; ret
static void write_function(unsigned char *at, int value) {
    at[0] = 0xb8, memcpy(at + 1, &value, 4), at[5] = 0xc3;
}

static unsigned char *room(int protection) {
    return mmap(NULL, kPage, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static unsigned char *code;
static volatile int runs_now, stop;
static void *runs(void *unused) {
    long others = 0;
    (void)unused;
    for (; !stop; runs_now = 1) {
        int got = ((function)(code + 64))();
        if (got != 1 && got != 2) ++others;
    }
    return (void *)others;
}

int main(void) {
    code = room(PROT_READ | PROT_WRITE | PROT_EXEC);
    long sum = 0;
    for (int i = 0; i < 1000; ++i) write_function(code, i), sum += ((function)code)();
    SAY("%ld\n", sum);
    unsigned char *later = room(PROT_READ | PROT_WRITE);
    write_function(later, 7);
    TRY(mprotect(later, kPage, PROT_READ | PROT_EXEC));
    SAY("%d\n", ((function)later)());
    pid_t child = fork();
    if (child == 0) write_function(code, 8), _exit(((function)code)());
    guest_wait_for("child", child);
    write_function(code, 9);
    SAY("%d\n", ((function)code)());
    // A call to the kernel from there: 39 is getpid.
    static const unsigned char getpid_code[] = {0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3};
    memcpy(code + 512, getpid_code, sizeof getpid_code);
    IS(((function)(code + 512))() == getpid());
    code[513] = 110;                                             // and getppid, which is home's
    IS(((function)(code + 512))() == getppid());
    pthread_t thread;
    write_function(code + 64, 1);
    pthread_create(&thread, NULL, runs, NULL);
    while (!runs_now) sched_yield();
    for (int i = 0; i < 20000; ++i) __atomic_store_n(code + 65, 1 + i % 2, __ATOMIC_SEQ_CST);
    stop = 1;
    void *result;
    pthread_join(thread, &result);
    SAY("%ld\n", (long)result);
    // The C library's own code, changed and put back.
    unsigned char *in_libc = (unsigned char *)((uintptr_t)getppid & -kPage), saved[6];
    TRY(mprotect(in_libc, 2 * kPage, PROT_READ | PROT_WRITE | PROT_EXEC));
    unsigned char *it = (unsigned char *)getppid;
    memcpy(saved, it, sizeof saved), write_function(it, 4711);
    SAY("%d\n", (int)getppid());
    memcpy(it, saved, sizeof saved);
    IS(getppid() == (pid_t)syscall(SYS_getppid));
    return 0;
}
