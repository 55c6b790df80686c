// The guests of test_restore.cc: each looks at what a restored process must still have, and prints it.
#include "tests/unit/restore_guest.h"
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

namespace {

int guest_argc;
char** guest_argv;
char** guest_environment;

int show_arguments() {
    for (int i = 1; i < guest_argc; i++) std::printf("%s;", guest_argv[i]);
    for (char** e = guest_environment; *e; e++)
        if (std::strncmp(*e, "MARK", 4) == 0) std::printf("%s;", *e);
    char name[32] = "";
    FILE* comm = std::fopen("/proc/self/comm", "r");
    if (!comm || !std::fgets(name, sizeof name, comm)) return 1;
    std::printf("%s", name);
    return 7;
}

long ns(const timespec& t) { return t.tv_sec * 1'000'000'000l + t.tv_nsec; }

// The C library asks our vDSO; the system call asks the kernel. One must lie between two of the other.
int compare_clocks() {
    for (clockid_t id : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_REALTIME_COARSE, CLOCK_BOOTTIME}) {
        timespec before, ours, after;
        syscall(SYS_clock_gettime, id, &before);
        if (clock_gettime(id, &ours) != 0) return 2;
        syscall(SYS_clock_gettime, id, &after);
        if (ns(ours) < ns(before) || ns(ours) > ns(after)) return std::printf("clock %d is off\n", id), 3;
    }
    timeval now;
    gettimeofday(&now, nullptr);
    if (std::labs(now.tv_sec - time(nullptr)) > 1) return 4;
    timespec resolution;
    if (clock_getres(CLOCK_MONOTONIC, &resolution) != 0 || resolution.tv_nsec != 1) return 5;
    unsigned cpu = ~0u;
    if (syscall(SYS_getcpu, &cpu, nullptr, nullptr) != 0 || sched_getcpu() < 0) return 6;
    return 0;
}

// Ours minus the kernel's, taken anew until nothing came between the two looks.
long offset_of(clockid_t id) {
    for (;;) {
        timespec before, ours, after;
        syscall(SYS_clock_gettime, id, &before);
        clock_gettime(id, &ours);
        syscall(SYS_clock_gettime, id, &after);
        if (ours.tv_nsec < 0 || ours.tv_nsec >= 1'000'000'000) return -1;
        if (ns(after) - ns(before) < 10'000'000) return ns(ours) - ns(before);
    }
}

// What our vDSO adds to the kernel's clocks, in tenths of a second; the fraction over it is the time between the calls.
int show_clock_offset() {
    for (clockid_t id : {CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_TAI, CLOCK_MONOTONIC})
        std::printf("%ld ", (offset_of(id) + 50'000'000) / 100'000'000);
    timespec before, after;
    timeval now;
    clock_gettime(CLOCK_REALTIME, &before);
    gettimeofday(&now, nullptr);
    clock_gettime(CLOCK_REALTIME, &after);
    long seconds = time(nullptr);
    if (now.tv_usec < 0 || now.tv_usec >= 1'000'000) return 2;
    long us = now.tv_sec * 1'000'000l + now.tv_usec;
    if (us < ns(before) / 1000 || us > ns(after) / 1000) return 3;
    return seconds >= before.tv_sec - 1 && seconds <= after.tv_sec + 100 ? 0 : 4;
}

// How long a clock call takes, in CPU time because others want the CPU too.
int time_the_clock() {
    timespec from, to, t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (int i = 0; i < 100000; i++) clock_gettime(CLOCK_REALTIME, &t);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    std::printf("%ld\n", (ns(to) - ns(from)) / 100000);
    return 0;
}

[[gnu::noinline]] int recurse(int depth) {
    volatile char frame[4096];
    frame[0] = static_cast<char>(depth);
    return depth == 0 ? 0 : recurse(depth - 1) + (frame[0] == static_cast<char>(depth));
}

int use_deep_stack() { return recurse(1600) == 1600 ? 0 : 1; }        // over 6 MiB

// Without end: must die of SIGSEGV at the stack's limit as at home, not eat all memory.
int overflow_stack() { return recurse(1 << 30); }

int grow_heap() {
    auto start = static_cast<char*>(sbrk(0));
    for (int i = 0; i < 64; i++)
        if (sbrk(1 << 20) != start + (i << 20)) return 1;
    std::memset(start, 7, 64 << 20);
    void* big = std::malloc(100 << 20);
    void* small = std::malloc(100);
    std::free(small);
    std::free(big);
    return start[(64 << 20) - 1] == 7 ? 0 : 2;
}

volatile sig_atomic_t caught;
void on_signal(int) { caught = caught + 1; }

int take_signals() {
    struct sigaction old;
    sigaction(SIGUSR2, nullptr, &old);
    if (old.sa_handler != SIG_IGN) return 1;                   // ignored before the exec
    sigset_t mask;
    sigprocmask(SIG_BLOCK, nullptr, &mask);
    if (!sigismember(&mask, SIGWINCH) || sigismember(&mask, SIGUSR1)) return 2;
    std::signal(SIGUSR1, on_signal);
    for (int i = 0; i < 1000; i++) raise(SIGUSR1);
    return caught == 1000 ? 0 : 3;
}

void* in_thread(void* argument) {
    *static_cast<int*>(argument) += 1;
    return argument;
}

int start_threads() {
    int sum = 0;
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        if (pthread_create(&thread, nullptr, in_thread, &sum) != 0) return 1;
        pthread_join(thread, nullptr);
    }
    return sum == 20 ? 0 : 2;
}

// A fresh program has a fresh FPU: default rounding, empty vectors, and arithmetic that works.
int compute() {
    unsigned control = __builtin_ia32_stmxcsr();
    unsigned short x87;
    __asm__("fnstcw %0" : "=m"(x87));
    volatile double sum = 0;
    for (int i = 1; i < 1000; i++) sum = sum + 1.0 / i;
    std::printf("%x %x %.12f\n", control, x87, sum);
    return 0;
}

int show_own_layout() {
    FILE* maps = std::fopen("/proc/self/maps", "r");
    char line[512];
    while (maps && std::fgets(line, sizeof line, maps))
        if (std::strstr(line, "[stack]") || std::strstr(line, "[heap]")) std::printf("%s", std::strrchr(line, '['));
    unsigned char file[1024];
    FILE* auxv = std::fopen("/proc/self/auxv", "r");
    size_t bytes = auxv ? std::fread(file, 1, sizeof file, auxv) : 0;
    for (size_t at = 0; at + 16 <= bytes; at += 16) {
        Elf64_auxv_t entry;
        std::memcpy(&entry, file + at, 16);
        bool own = entry.a_type != AT_NULL && entry.a_type != AT_HWCAP;        // glibc answers that from CPUID
        if (own && getauxval(entry.a_type) != entry.a_un.a_val) return 1;
    }
    return bytes > 200 ? 0 : 2;
}

// Execution protection is as the program's headers ask.
int jump_into_stack() {
    unsigned char code[] = {0xc3};
    reinterpret_cast<void (*)()>(code)();
    return 0;
}

// The C library's symbol look-up works on our vDSO as on the kernel's: an exception unwinds through nothing of it, but
// dl_iterate_phdr lists it.
int list_objects() {
    auto show = [](dl_phdr_info* info, size_t, void* found) {
        auto vdso = getauxval(AT_SYSINFO_EHDR);
        if (info->dlpi_addr == vdso) *static_cast<int*>(found) = 1;
        return 0;
    };
    int found = 0;
    dl_iterate_phdr(show, &found);
    return found ? 0 : 1;
}

struct Guest { const char* name; int (*run)(); };
const Guest guests[] = {
    {"arguments", show_arguments}, {"clocks", compare_clocks}, {"clock speed", time_the_clock},
    {"clock offset", show_clock_offset},
    {"deep stack", use_deep_stack}, {"stack overflow", overflow_stack}, {"heap", grow_heap}, {"signals", take_signals},
    {"threads", start_threads}, {"arithmetic", compute}, {"layout", show_own_layout}, {"stack code", jump_into_stack},
    {"objects", list_objects}};

[[gnu::constructor]] void run_guest(int argc, char** argv, char** environment) {
    const char* wanted = getenv(omx::test::kGuestVariable);
    if (!wanted) return;
    guest_argc = argc;
    guest_argv = argv;
    guest_environment = environment;
    for (const Guest& g : guests)
        if (std::strcmp(g.name, wanted) == 0) std::exit(g.run());
    std::exit(99);
}

}  // namespace
