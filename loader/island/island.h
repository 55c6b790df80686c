/* The island: a few pages inside every guest where its hot system calls are forwarded without leaving the process.
 * A call site that has proved hot is rewritten by the worker (remote/call_sites.h) to jump to a stub here; the code
 * (entry.S, island.c) writes the call's frame to a socket of the guest's own, its lane, and waits there for the answer.
 * See docs/lanes.md. Both ends are of one build: the layout may change freely. C11, C++ and assembler.
 *
 * Addresses are fixed and below 4 GiB, so that a site of eight bytes can name them; and below where any program is
 * linked to, so that no heap grows into them. */
#ifndef OMX_ISLAND_H
#define OMX_ISLAND_H

#define OMX_ISLAND_BASE 0x200000
#define OMX_ISLAND_DATA OMX_ISLAND_BASE /* struct omx_lane, private */
#define OMX_ISLAND_BUFFER (OMX_ISLAND_BASE + 0x2000)
#define OMX_ISLAND_BUFFER_BYTES 0x5000
#define OMX_ISLAND_STACK_TOP (OMX_ISLAND_BASE + 0x9000)
#define OMX_ISLAND_DATA_BYTES (OMX_ISLAND_STACK_TOP - OMX_ISLAND_DATA)
#define OMX_ISLAND_NEWS OMX_ISLAND_STACK_TOP /* struct omx_news, shared with the worker, read only */
#define OMX_ISLAND_CODE (OMX_ISLAND_BASE + 0xa000) /* read and execute: this code, then the stubs */
#define OMX_ISLAND_CODE_BYTES 0x2000
#define OMX_ISLAND_STUBS (OMX_ISLAND_BASE + 0xc000)
#define OMX_ISLAND_STUBS_BYTES 0x1000
#define OMX_ISLAND_BYTES 0xd000

/* A call site is `syscall` (2 bytes) and a comparison of rax (6 bytes); it becomes `mov $door, %ecx; jmp *%rcx; nop`.
 * A signal handler may return to the comparison that was there, into the middle of the address: its second byte is
 * an int3, so that the worker sees that and puts the guest to where the comparison is now. Therefore the doors, each a
 * jump to its stub, lie at addresses whose second byte is that one. */
#define OMX_SITE_BYTES 8
#define OMX_SITE_TRAP 3 /* bytes of the site behind which such an int3 reports */
#define OMX_DOORS (OMX_ISLAND_STUBS + 0xc00)
#define OMX_DOOR_BYTES 5
#define OMX_STUB_BYTES 72
#define OMX_SITES 42
#define OMX_STUB_SAVED 29  /* from here on the guest's stack pointer is in saved_rsp … */
#define OMX_STUB_CALLED 39 /* … the call into the code is over … */
#define OMX_STUB_CALL 49   /* … the system call made after all, by notification … */
#define OMX_STUB_DONE 51   /* … and from here on the island plays no part any more */

/* The system call that means the worker: something has to be seen to before the guest goes on. */
#define OMX_LANE_LEAVE 0x2f6d7803

/* Offsets in struct omx_lane that assembler needs. */
#define OMX_LANE_ON (OMX_ISLAND_DATA + 0)
#define OMX_LANE_DEFER (OMX_ISLAND_DATA + 4)
#define OMX_LANE_PHASE (OMX_ISLAND_DATA + 8)
#define OMX_LANE_SITE (OMX_ISLAND_DATA + 12)
#define OMX_LANE_SAVED_RSP (OMX_ISLAND_DATA + 16)
#define OMX_LANE_FRAME (OMX_ISLAND_DATA + 24)
#define OMX_LANE_RESULT (OMX_ISLAND_DATA + 32)

/* How far the call is. */
#define OMX_PHASE_BEFORE 1 /* nothing has left yet: it can be begun anew */
#define OMX_PHASE_SENT 2
#define OMX_PHASE_ANSWERED 3

/* What the C part says to the assembler part. */
#define OMX_LANE_FALL_BACK 0 /* nothing was done: make the call by notification */
#define OMX_LANE_DONE 1
#define OMX_LANE_SEE_WORKER 2

#define OMX_LANE_SMALL 16384 /* bytes that go through the island's buffer */
#define OMX_LANE_PAYLOAD (4 << 20) /* bytes a call may carry each way; a last piece that is not small is sent from where
                                      it is, and what comes back is received where it belongs */
#define OMX_LANE_PATIENCE (512 << 10) /* bytes that make it worth spinning as long again: home's kernel has to copy them */
#define OMX_LANE_ROWS 24
#define OMX_LANE_CALLS 512

#ifndef __ASSEMBLER__
#include <stdint.h>

enum omx_lane_kind {
    OMX_ARG_PLAIN = 0,
    OMX_ARG_IN = 1,   /* so many bytes travel to home */
    OMX_ARG_OUT = 2,  /* so many come back at most */
    OMX_ARG_TEXT = 3, /* a string, in */
};

/* What the island must know of a call: a row of the table, boiled down (remote/lane_rows.h). */
struct omx_lane_row {
    uint8_t kind[6];
    uint8_t length_of[6]; /* which argument says how many bytes; 6: `bytes` does */
    uint8_t width[6]; /* of that argument: 4 signed, 5 unsigned 32 bits, 8 */
    uint16_t bytes[6];
    uint32_t cap[6]; /* never more */
};

/* Written by the worker while the guest is held, and by the island. */
struct omx_lane {
    uint32_t on; /* the worker's: 0 sends every call by notification */
    uint32_t defer; /* the worker's: see it before the guest goes on */
    uint32_t phase;
    uint32_t site; /* index of the site the call came from */
    uint64_t saved_rsp; /* the guest's */
    uint64_t frame; /* address of its struct omx_lane_frame */
    int64_t result;
    uint32_t restart; /* the class that home's reply had */
    uint32_t broken; /* the lane's bytes made no sense */
    uint64_t link_frames; /* so many frames of the link come before the reply */
    int32_t tid;
    int32_t fd; /* the lane's, in the node's table, where the program has no descriptors */
    uint32_t zero;
    uint32_t failures; /* waits that spun in vain in a row */
    uint64_t calls; /* made so far: ids of frames */
    uint64_t spin_cycles, hold_off_cycles, hold_off, not_before; /* of the time stamp counter */
    uint64_t somebody_ran_cycles;
    uint8_t row_of[OMX_LANE_CALLS]; /* index into rows + 1; 0: by notification */
    struct omx_lane_row rows[OMX_LANE_ROWS];
};

/* Shared with all guests of a worker. */
struct omx_news {
    uint64_t link_frames; /* frames of the link that the worker has seen to */
};

/* The guest's registers as the assembler part pushes them. */
struct omx_lane_frame {
    uint64_t rax, r9, r8, r10, rdx, rsi, rdi, r15, r14, r13, r12, rbp, rbx;
};

/* At the beginning of the code. */
struct omx_island_entries {
    uint64_t common; /* called by the stubs */
    uint64_t framed; /* from here on `frame` is valid and `phase` is this call's */
    uint64_t sent, unsent; /* from the system call that sends to where `phase` says whether it did */
    uint64_t tail, tail_end; /* here the answer is in the registers, and `defer` has been looked at */
    uint64_t end;
};
#endif
#endif
