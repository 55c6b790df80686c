// Nice values, scheduling classes and I/O priorities: who may set them, for whom, what children and threads inherit,
// and what is left after a refusal. (What a node does with them: integration/scheduling.py.)
#include "guest.h"
#include <sched.h>
#include <sys/resource.h>

struct attributes { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t priority; uint64_t times[3]; };

static void show(const char *whose, pid_t who) {
    struct sched_param param = {0};
    errno = 0;
    int nice_value = getpriority(PRIO_PROCESS, (id_t)who), policy = sched_getscheduler(who);
    sched_getparam(who, &param);
    SAY("%s: nice %d, class %d%s, priority %d\n", whose, nice_value, policy & ~SCHED_RESET_ON_FORK,
        policy & SCHED_RESET_ON_FORK ? " (not for children)" : "", param.sched_priority);
}

static void *as_thread(void *unused) {
    show("its thread", 0);
    setpriority(PRIO_PROCESS, 0, 9);                     // of this thread alone
    show("its thread", 0);
    return unused;
}

static long set_class(int policy, int priority) {
    struct sched_param param = {.sched_priority = priority};
    return sched_setscheduler(0, policy, &param);
}

// A child that waits to be told to end.
static pid_t waiter(int ends[2]) {
    pipe(ends);
    pid_t child = fork();
    if (child != 0) return close(ends[0]), child;
    char c;
    close(ends[1]);
    read(ends[0], &c, 1);
    show("the child itself", 0);
    _exit(0);
}

int main(void) {
    show("at first", 0);
    TRY(nice(3));
    pthread_t thread;
    pthread_create(&thread, NULL, as_thread, NULL);
    pthread_join(thread, NULL);
    show("main", 0);

    int ends[2];
    pid_t child = waiter(ends);
    show("child", child);
    TRY(setpriority(PRIO_PROCESS, (id_t)child, 11));
    show("child", child);
    TRY(setpgid(child, child));
    TRY(setpriority(PRIO_PGRP, (id_t)child, 13));
    show("child", child);
    TRY(getpriority(PRIO_PGRP, (id_t)child));
    close(ends[1]);
    guest_wait_for("child", child);
    TRY(setpriority(PRIO_PROCESS, (id_t)child, 15));     // nobody has that number any more
    TRY(setpriority(7, 0, 0));

    TRY(set_class(SCHED_BATCH, 0));
    show("batch", 0);
    TRY(set_class(SCHED_BATCH, 1));
    TRY(set_class(SCHED_BATCH | SCHED_RESET_ON_FORK, 0));
    child = waiter(ends);
    close(ends[1]);
    guest_wait_for("child of who resets", child);
    struct attributes a = {.size = 48, .policy = SCHED_IDLE, .nice = 5};
    TRY(syscall(SYS_sched_setattr, 0, &a, 0));
    a = (struct attributes){.size = 48};
    TRY(syscall(SYS_sched_getattr, 0, &a, 48, 0));
    show("idle", 0);
    TRY(syscall(SYS_ioprio_set, 1, 0, 3 << 13));
    TRY(syscall(SYS_ioprio_get, 1, 0) == 3 << 13);

    // What an ordinary user may not do, and root may.
    TRY(set_class(SCHED_OTHER, 0));
    TRY(setpriority(PRIO_PROCESS, 0, 0));
    TRY(setpriority(PRIO_PROCESS, 0, -4));
    TRY(set_class(SCHED_RR, 2));
    show("realtime, if it may", 0);
    child = waiter(ends);
    close(ends[1]);
    guest_wait_for("its child", child);
    TRY(set_class(SCHED_OTHER, 0));
    show("at last", 0);
    return 0;
}
