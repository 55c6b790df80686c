// What every guest program uses. A guest shows one behaviour and prints what it sees; the harness (tests/run) runs it
// natively first and wants to see the same at home and away. So it prints nothing that differs between two native
// runs: no pids, addresses, times.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Unbuffered: a fork between two lines must not print one of them twice.
#define SAY(...) dprintf(1, __VA_ARGS__)

static inline long guest_say_result(const char *what, long result) {
    if (result == -1) SAY("%s: %s\n", what, strerrorname_np(errno));
    else SAY("%s: %ld\n", what, result);
    return result;
}
// Makes the call, prints it as written here with its result or errno's name.
#define TRY(call) guest_say_result(#call, (long)(call))
// For results that differ from run to run (addresses, pids).
#define WORKS(call) SAY("%s: %s\n", #call, (long)(call) == -1 ? strerrorname_np(errno) : "works")
// A condition of which only the truth is printed.
#define IS(condition) SAY("%s: %s\n", #condition, (condition) ? "yes" : "no")

static inline void guest_say_status(const char *who, int status) {
    if (WIFEXITED(status)) SAY("%s exited with %d\n", who, WEXITSTATUS(status));
    else if (WIFSIGNALED(status)) SAY("%s died of SIG%s\n", who, sigabbrev_np(WTERMSIG(status)));
    else if (WIFSTOPPED(status)) SAY("%s stopped by SIG%s\n", who, sigabbrev_np(WSTOPSIG(status)));
    else if (WIFCONTINUED(status)) SAY("%s continued\n", who);
}

static inline void guest_wait_for(const char *who, pid_t pid) {
    int status = 0;
    if (waitpid(pid, &status, 0) != pid) SAY("waitpid of %s: %s\n", who, strerrorname_np(errno));
    else guest_say_status(who, status);
}

static inline void guest_sleep_ms(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) == -1 && errno == EINTR) {}
}
