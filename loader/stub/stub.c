/* The stub: the empty process that takes in a guest. It asks the worker for its plan, maps it where the plan says and
 * enters the runner in it. Linked at a fixed address that no program's layout uses; nothing here is relocated. */
#include <stddef.h>
#include <asm/unistd.h>
#include <linux/auxvec.h>
#include "plan.h"
#include "calls.h"

enum { prot_read = 1, prot_write = 2, prot_exec = 4, map_private = 2, map_fixed_noreplace = 0x100000 };

/* Operation 0 of every plan stands for what happens here. */
_Noreturn static void give_up(long error) {
    omx_call2(OMX_STUB_READY, (uint64_t)error, 0);
    for (;;) omx_call2(__NR_exit_group, 125, 0);
}

static uint64_t vdso_of(const uint64_t* stack) {
    const uint64_t* p = stack + 1 + stack[0] + 1; /* argc, argv, NULL */
    while (*p++) { /* the environment */
    }
    for (; p[0] != AT_NULL; p += 2)
        if (p[0] == AT_SYSINFO_EHDR) return p[1];
    return 0;
}

_Noreturn static void enter(const struct omx_plan_header* plan, uint64_t vdso) {
    __asm__ volatile(
        "mov %0, %%rsp\n"
        "xor %%ebp, %%ebp\n"
        "jmp *%1\n"
        :
        : "r"(plan->stack_top), "r"(plan->entry), "D"(plan), "S"(vdso)
        : "memory");
    __builtin_unreachable();
}

_Noreturn __attribute__((used)) void omx_stub_main(const uint64_t* stack) {
    long error = omx_call2(OMX_STUB_WANTS_PLAN, 0, 0);
    if (error) give_up(error < 0 ? error : -8);
    long at = omx_call6(__NR_mmap, 0, OMX_PLAN_PAGE, prot_read, map_private, OMX_PLAN_FD, 0);
    if (omx_failed(at)) give_up(at);
    const struct omx_plan_header* seen = (const struct omx_plan_header*)at;
    if (seen->magic != OMX_PLAN_MAGIC) give_up(-8);
    at = omx_call6(__NR_mmap, seen->address, seen->bytes, prot_read | prot_write, map_private | map_fixed_noreplace,
                   OMX_PLAN_FD, 0);
    if (omx_failed(at)) give_up(at);
    if ((uint64_t)at != seen->address) give_up(-17);
    const struct omx_plan_header* plan = (const struct omx_plan_header*)at;
    error = omx_call3(__NR_mprotect, plan->address + plan->code_at, plan->code_bytes, prot_read | prot_exec);
    if (error) give_up(error);
    enter(plan, vdso_of(stack));
}

__asm__(
    ".globl _start\n"
    "_start:\n"
    "mov %rsp, %rdi\n"
    "and $-16, %rsp\n"
    "call omx_stub_main\n");
