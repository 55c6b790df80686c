// The shared-memory slot through which the supervisor hands calls to a deputy thread, and the fixed places of blob,
// slots and big area in a deputy. Included by blob.S too: constants are macros, the struct is C++ only.
//
// A slot is one control page followed by a data area. The supervisor writes operations, sets `state` to posted and
// wakes the deputy; the blob makes the calls in order, stores each result, and sets `state` to done. How the supervisor
// learns of it depends on what it is doing (see OMX_POSTED_*), so that a call that blocks for days costs nobody a
// wake-up.
#pragma once

#define OMX_BLOB_BASE 0x100000000000      /* free in every address space that exec makes; a deputy has nothing else */
#define OMX_BLOB_BYTES 0x1000
#define OMX_SLOTS_BASE 0x100100000000
#define OMX_SLOTS_SPAN 0x000100000000     /* room for 65536 slots; mapped as far as threads need them */
#define OMX_SLOT_BYTES 0x10000
#define OMX_BIG_BASE 0x110000000000       /* temporary room for buffers that no slot holds (F23) */
#define OMX_BIG_SPAN 0x010000000000
#define OMX_BIG_OFFSET 0x010000000000     /* its offset in the memfd */
#define OMX_PAGE 0x1000

/* Slot::state */
#define OMX_IDLE 0
#define OMX_POSTED_WATCHED 1     /* the supervisor looks at `state` (and sleeps on it if `watcher` is set) */
#define OMX_POSTED_ASYNC 2       /* it does not: when done, stop by int3; ptrace brings the news */
#define OMX_DONE 3

/* byte offsets in the control page */
#define OMX_STATE 0
#define OMX_OP_COUNT 4
#define OMX_SLEEPING 8           /* set by the blob before it waits: post needs a futex wake */
#define OMX_WATCHER 12           /* set by the supervisor before it waits: done needs a futex wake */
#define OMX_CANCEL 16            /* set while stopped for a signal: the call must not begin any more */
#define OMX_OPS 64
#define OMX_OP_BYTES 64
#define OMX_MAX_OPS 63

/* Op::flags */
#define OMX_OP_STOP_ON_ERROR 1   /* skip the following operations when this one fails */
#define OMX_OP_ALWAYS 2          /* run even then */
#define OMX_OP_RESULT_AS_ARG0 4  /* args[0] is the previous operation's result; skipped if that failed */
#define OMX_OP_NEW_THREAD 8      /* clone: the child continues at the slot whose address is args[5] */
#define OMX_OP_NEW_PROCESS 16    /* clone: the child makes slots of its own */
#define OMX_OP_GUEST_CALL 32     /* the guest's own call: OMX_CANCEL applies to it */
#define OMX_OP_MAY_FAIL 64       /* for whoever posted it: see Job::lead_done */

#ifndef __ASSEMBLER__
#include <array>
#include <cstddef>
#include <cstdint>

namespace omx {

struct SlotOp {
    uint32_t nr;
    uint32_t flags;
    std::array<uint64_t, 6> args;
    int64_t result;
};
static_assert(sizeof(SlotOp) == OMX_OP_BYTES);

struct Slot {
    uint32_t state, op_count, sleeping, watcher, cancel;
    uint32_t reserved[11];
    SlotOp ops[OMX_MAX_OPS];
};
static_assert(offsetof(Slot, ops) == OMX_OPS && offsetof(Slot, cancel) == OMX_CANCEL && sizeof(Slot) <= OMX_PAGE);

extern "C" {
extern const char omx_blob_begin[], omx_blob_end[];
// Where a new process begins, where it tries again; its int3s.
extern const char omx_blob_process_start[], omx_blob_make_memfd[], omx_blob_made_memfd[], omx_blob_mapped[];
extern const char omx_blob_run[];
// [committed, called): CANCEL was read, the call not begun.
extern const char omx_blob_committed[], omx_blob_call[], omx_blob_called[];
// The way round a cancelled call; behind the async int3.
extern const char omx_blob_skip[], omx_blob_reported[];
}
// The address in a deputy of a label of the blob.
inline uint64_t blob_address(const char* label) {
    return OMX_BLOB_BASE + static_cast<uint64_t>(label - omx_blob_begin);
}

}  // namespace omx
#endif
