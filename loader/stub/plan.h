/* The plan of a restore as it lies in its memfd: written by loader/plan_writer.cc on the node, read by stub.c and
 * runner.c inside the stub. Both ends are of one build, so the layout may change freely. C11 and C++.
 *
 *   header | runner's code (page aligned) | operations, their texts' data, runner's stack (page aligned)
 *
 * The whole file is mapped privately at header.address; pointers in it are absolute. */
#ifndef OMX_PLAN_H
#define OMX_PLAN_H
#include <stdint.h>

#define OMX_PLAN_MAGIC 0x316e616c70786d6full /* "omxplan1" */
#define OMX_PLAN_PAGE 4096ull
#define OMX_USER_END 0x7ffffffff000ull /* with four-level paging; nobody gets more without asking */
#define OMX_VDSO_PIECES 8

/* The system call numbers that mean the worker, not Linux (loader/restore.h). */
#define OMX_STUB_WANTS_PLAN 0x2f6d7801
#define OMX_STUB_READY 0x2f6d7802
#define OMX_PLAN_FD 3

/* One contiguous run of the node's own vDSO mappings ([vvar], [vvar_vclock], [vdso]) relative to the vDSO's start. */
struct omx_vdso_piece {
    int64_t at; /* bytes from AT_SYSINFO_EHDR; negative for the data pages in front of it */
    uint64_t bytes;
};

/* How our vDSO finds the node's: see vdso/vdso.c. In the plan the pointers are offsets into the node's vDSO (0: none);
 * the runner adds where that came to lie. */
struct omx_clock {
    uint64_t clock_gettime, gettimeofday, time, clock_getres, getcpu;
    uint64_t page; /* where the omx_clock_page is; 0: the machine's own clocks are the right ones */
};

struct omx_plan_header {
    uint64_t magic;
    uint64_t address, bytes; /* where this file must be mapped, and how much of it (with the runner's stack) */
    uint64_t code_at, code_bytes; /* offset and size of the pages that become read and execute only */
    uint64_t entry, stack_top; /* absolute */
    uint64_t operations, operation_count; /* absolute address of the first */
    uint64_t parking; /* room for the node's vDSO right after the plan when old and new place overlap */
    uint64_t vdso_to; /* where the lowest piece goes */
    uint64_t piece_count;
    struct omx_vdso_piece piece[OMX_VDSO_PIECES];
    uint64_t clock; /* absolute address of the omx_clock in the plan, to be completed; 0: none */
};

enum omx_operation_kind {
    OMX_CALL = 1, /* the system call `number` with args; fails on -4095..-1 unless OMX_MAY_FAIL */
    OMX_COPY = 2, /* args: to, from, bytes */
    OMX_CLEAR_OUT = 3, /* unmaps everything but the plan and the node's vDSO */
    OMX_MOVE_VDSO = 4, /* puts the node's vDSO to vdso_to and completes the clock */
    OMX_LAND = 5, /* says ready and jumps to args[0]; rdi, rsi: the plan's range; rdx: args[1], the signal frame */
};

enum omx_operation_flags {
    OMX_MAY_FAIL = 1,
    OMX_EXACT = 2, /* the result must be args[0]: mmap */
};

struct omx_operation {
    uint32_t kind, flags;
    uint64_t number;
    uint64_t args[6];
};

#endif
