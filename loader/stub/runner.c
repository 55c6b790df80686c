/* The runner: position-independent code that travels in the plan and does its operations in order. By the time it runs
 * everything else of the stub may go, its stack and its code included. It touches no vector register. */
#include <stddef.h>
#include <asm/unistd.h>
#include "plan.h"
#include "calls.h"

/* The linker script puts this first: the plan's entry is the blob's first byte. */
_Noreturn void omx_runner(struct omx_plan_header* plan, uint64_t vdso) __attribute__((section(".text.entry"), used));

struct range {
    uint64_t from, to;
};

static inline void copy(void* to, const void* from, uint64_t bytes) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

static inline struct range plan_range(const struct omx_plan_header* plan) {
    return (struct range){plan->address, plan->address + plan->bytes};
}

/* The node's vDSO with its data pages is contiguous: pieces ascend without gaps (the plan maker checked). */
static inline struct range vdso_range(const struct omx_plan_header* plan, uint64_t vdso) {
    if (!plan->piece_count || !vdso) return (struct range){0, 0};
    const struct omx_vdso_piece* last = &plan->piece[plan->piece_count - 1];
    return (struct range){vdso + (uint64_t)plan->piece[0].at, vdso + (uint64_t)last->at + last->bytes};
}

static inline long unmap(uint64_t from, uint64_t to) {
    return from < to ? omx_call2(__NR_munmap, from, to - from) : 0;
}

static long clear_out(const struct omx_plan_header* plan, uint64_t vdso) {
    struct range low = plan_range(plan), high = vdso_range(plan, vdso);
    if (high.from < low.from) {
        struct range swap = low;
        low = high;
        high = swap;
    }
    long error = unmap(0, low.from);
    if (!error) error = unmap(low.to, high.from);
    if (!error) error = unmap(high.to, OMX_USER_END);
    return error;
}

/* Each piece is a mapping of its own kind, so that one mremap can't take them all. */
static long move_pieces(const struct omx_plan_header* plan, uint64_t vdso, uint64_t to) {
    for (uint64_t i = 0; i < plan->piece_count; i++) {
        const struct omx_vdso_piece* p = &plan->piece[i];
        uint64_t target = to + (uint64_t)(p->at - plan->piece[0].at);
        uint64_t now = vdso + (uint64_t)p->at, maymove_fixed = 3;
        long at = omx_call6(__NR_mremap, now, p->bytes, p->bytes, maymove_fixed, target, 0);
        if (omx_failed(at)) return at;
    }
    return 0;
}

static void complete_clock(const struct omx_plan_header* plan, uint64_t vdso) {
    struct omx_clock* clock = (struct omx_clock*)plan->clock;
    if (!clock) return;
    uint64_t* pointer[] = {&clock->clock_gettime, &clock->gettimeofday, &clock->time, &clock->clock_getres,
                           &clock->getcpu};
    for (unsigned i = 0; i < sizeof pointer / sizeof *pointer; i++)
        if (*pointer[i]) *pointer[i] = vdso ? *pointer[i] + vdso : 0;
}

static long move_vdso(const struct omx_plan_header* plan, uint64_t vdso) {
    struct range now = vdso_range(plan, vdso);
    if (now.from == now.to) {
        complete_clock(plan, 0);
        return 0;
    }
    uint64_t bytes = now.to - now.from, base = vdso - now.from;
    if (now.from < plan->vdso_to + bytes && plan->vdso_to < now.to && now.from != plan->vdso_to) {
        long error = move_pieces(plan, vdso, plan->parking);
        if (error) return error;
        vdso = plan->parking + base;
    }
    long error = now.from == plan->vdso_to ? 0 : move_pieces(plan, vdso, plan->vdso_to);
    if (error == -1 /* EPERM: a kernel that seals its mappings; where they are is as good if nothing else wants it */)
        complete_clock(plan, vdso);
    else if (error)
        return error;
    else
        complete_clock(plan, plan->vdso_to + base);
    return 0;
}

static long run(const struct omx_plan_header* plan, const struct omx_operation* o, uint64_t vdso) {
    if (o->kind == OMX_COPY) {
        copy((void*)o->args[0], (const void*)o->args[1], o->args[2]);
        return 0;
    }
    if (o->kind == OMX_CLEAR_OUT) return clear_out(plan, vdso);
    if (o->kind == OMX_MOVE_VDSO) return move_vdso(plan, vdso);
    long result = omx_call6((long)o->number, o->args[0], o->args[1], o->args[2], o->args[3], o->args[4], o->args[5]);
    if (o->flags & OMX_MAY_FAIL) return 0;
    if (omx_failed(result)) return result;
    return (o->flags & OMX_EXACT) && (uint64_t)result != o->args[0] ? -17 /* EEXIST */ : 0;
}

/* The landing pages unmap the plan under our feet and return into the guest by its signal frame. */
_Noreturn static void land(const struct omx_plan_header* plan, const struct omx_operation* o) {
    register uint64_t code __asm__("rax") = o->args[0];
    __asm__ volatile("jmp *%0" : : "r"(code), "D"(plan->address), "S"(plan->bytes), "d"(o->args[1]) : "memory");
    __builtin_unreachable();
}

_Noreturn static void give_up(long error, uint64_t operation) {
    omx_call2(OMX_STUB_READY, (uint64_t)error, operation);
    for (;;) omx_call2(__NR_exit_group, 125, 0);
}

_Noreturn void omx_runner(struct omx_plan_header* plan, uint64_t vdso) {
    const struct omx_operation* operation = (const struct omx_operation*)plan->operations;
    for (uint64_t i = 1;; i++) {
        const struct omx_operation* o = &operation[i];
        if (i >= plan->operation_count) give_up(-8, 0);
        if (o->kind == OMX_LAND) {
            if (omx_call2(OMX_STUB_READY, 0, 0)) give_up(-103 /* ECONNABORTED */, i);
            land(plan, o);
        }
        long error = run(plan, o, vdso);
        if (error) give_up(error, i);
    }
}
