// A thread that has pinned itself to a CPU finds itself there, whoever it asks: the C library (rseq), the vDSO, the
// kernel; so do its threads, its children and what they execute. No number is beyond what /sys promises.
#include "guest.h"
#include <sched.h>
#include <sys/sysinfo.h>

static int pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set);
}

static int is_on(int cpu) {
    unsigned from_kernel = 0, from_vdso = 0;
    syscall(SYS_getcpu, &from_kernel, NULL, NULL);
    getcpu(&from_vdso, NULL);
    return (int)from_kernel == cpu && (int)from_vdso == cpu && sched_getcpu() == cpu;
}

static void *look(void *cpu) {
    IS(is_on(*(int *)cpu));
    pin(0);                                          // a thread's affinity is its own
    return NULL;
}

int main(int argc, char **argv) {
    if (argc > 1) {
        IS(is_on(atoi(argv[1])));
        return 0;
    }
    cpu_set_t all;
    IS(sched_getaffinity(0, sizeof all, &all) == 0);
    unsigned node;
    int wrong = 0, pinned = 0, beyond = 0, last = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &all)) continue;
        last = cpu;
        ++pinned;
        if (pin(cpu) == -1 || !is_on(cpu)) ++wrong;
    }
    IS(pinned == CPU_COUNT(&all));
    IS(wrong == 0);

    pthread_t thread;
    pthread_create(&thread, NULL, look, &last);
    pthread_join(thread, NULL);
    IS(is_on(last));
    pid_t child = fork();
    if (child == 0) {
        IS(is_on(last));
        char number[16];
        snprintf(number, sizeof number, "%d", last);
        execl("/proc/self/exe", argv[0], number, NULL);
    }
    guest_wait_for("child", child);

    TRY(sched_setaffinity(0, sizeof all, &all));
    for (int i = 0; i < 1000; ++i) {
        unsigned cpu;
        getcpu(&cpu, &node);
        if ((int)cpu >= get_nprocs_conf() || !CPU_ISSET(cpu, &all)) ++beyond;
        sched_yield();
    }
    IS(beyond == 0);
    TRY(pin(CPU_SETSIZE - 1));                       // nobody has it
    TRY(sched_setaffinity(0, 4, &all));              // no whole word
    TRY(sched_setaffinity(0, sizeof all, NULL));
    TRY(sched_setaffinity(4194305, sizeof all, &all));
    return 0;
}
