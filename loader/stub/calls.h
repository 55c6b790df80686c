/* Bare system calls for code without a libc. */
#ifndef OMX_CALLS_H
#define OMX_CALLS_H
#include <stdint.h>

static inline long omx_call6(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = e;
    register uint64_t r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static inline long omx_call2(long number, uint64_t a, uint64_t b) { return omx_call6(number, a, b, 0, 0, 0, 0); }
static inline long omx_call3(long number, uint64_t a, uint64_t b, uint64_t c) {
    return omx_call6(number, a, b, c, 0, 0, 0);
}
static inline int omx_failed(long result) { return (unsigned long)result > -4096ul; }

#endif
