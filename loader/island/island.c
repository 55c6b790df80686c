/* The island's C part: one system call as a frame on the lane, and its answer. It runs on the island's stack with the
 * guest's registers saved, uses general registers only and no memory but the island's and what the call names.
 *
 * It may be stopped at any instruction. The worker then knows by phase and place what to do (remote/lanes.cc): before
 * the frame has left the call is begun anew, afterwards a signal waits until the answer is here. A pointer that
 * can't be used faults; the worker sees that too and has the call made by notification, which knows every subtlety. */
#include "loader/island/island.h"
#include <stddef.h>

enum { nr_sched_yield = 24, nr_sendto = 44, nr_recvfrom = 45, no_signal = 0x4000, dont_wait = 0x40 };
enum { frame_call = 10, frame_lane_reply = 27 };
enum { eagain = 11, eintr = 4, efault = 14, page = 4096, path_max = 4096 };

/* As protocol/frames.h and protocol/marshal.h have them. */
struct frame_header {
    uint32_t length;
    uint16_t type, flags;
    uint64_t id;
};
struct call_head {
    int32_t tid;
    uint32_t nr;
    uint64_t args[6];
};
struct reply_head {
    uint64_t link_frames;
    int64_t result;
    uint16_t restart, zero;
    uint32_t count;
};

#define lane ((volatile struct omx_lane*)OMX_ISLAND_DATA)
#define news ((const volatile struct omx_news*)OMX_ISLAND_NEWS)
#define buffer ((unsigned char*)OMX_ISLAND_BUFFER)
#define user_end 0x7ffffffff000ul

/* As the kernel has them. */
struct piece {
    const void* base;
    size_t bytes;
};
struct message {
    void* name;
    uint32_t name_bytes, pad;
    const struct piece* pieces;
    size_t count;
    void* control;
    size_t control_bytes;
    int flags;
};
long omx_lane_send(int fd, const struct message*);

static inline void copy(void* to, const void* from, size_t n) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static inline long transfer(long nr, const void* bytes, size_t count, int flags) {
    register long r10 __asm__("r10") = flags;
    register long r8 __asm__("r8") = 0;
    register long r9 __asm__("r9") = 0;
    long n;
    __asm__ volatile("syscall"
                     : "=a"(n)
                     : "0"(nr), "D"(lane->fd), "S"(bytes), "d"(count), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return n;
}
static inline long receive(void* to, size_t room, int flags) { return transfer(nr_recvfrom, to, room, flags); }

static inline uint64_t cycles(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* How long a yield took: somebody else wanted this CPU if it was long. */
static inline uint64_t yield(void) {
    uint64_t before = cycles();
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(nr_sched_yield) : "rcx", "r11", "memory");
    return cycles() - before;
}

/* As protocol/spin.h, which says why. Returns what the last receive did. */
static long spin(unsigned char* to, size_t room, uint64_t patience) {
    uint64_t start = cycles(), yielded = start;
    if (yield() > lane->somebody_ran_cycles) goto shared;
    for (uint64_t now = start; now - start < patience; now = cycles()) {
        long n = receive(to, room, dont_wait);
        if (n != -eagain) {
            lane->failures = 0;
            lane->hold_off = lane->hold_off_cycles;
            return n;
        }
        for (int i = 0; i < 16; i++) __builtin_ia32_pause();
        if (now - yielded > lane->somebody_ran_cycles * 3) {
            if (yield() > lane->somebody_ran_cycles) goto shared;
            yielded = cycles();
        }
    }
    lane->failures++;
    return -eagain;
shared:
    lane->not_before = cycles() + lane->hold_off;
    if (lane->hold_off < lane->hold_off_cycles * 100) lane->hold_off *= 2;
    return receive(to, room, dont_wait);
}

/* > 0 bytes, else the lane has ended. */
static long wait_for_bytes(unsigned char* to, size_t room, uint64_t patience) {
    long n;
    uint64_t start = cycles();
    if (lane->failures < 4 && start > lane->not_before) {
        n = spin(to, room, patience);
        if (n != -eagain) return n;
    }
    do n = receive(to, room, 0);
    while (n == -eintr);
    if (cycles() - start < patience) lane->failures = 0;
    return n;
}

/* Makes sure that every page of it can be written, without changing anything: else a fault, before the call is made. */
static inline void must_be_writable(uint64_t at, uint64_t bytes) {
    for (uint64_t p = at; p < at + bytes; p = (p & ~(uint64_t)(page - 1)) + page)
        __asm__ volatile("lock orb $0, (%0)" : : "r"(p) : "memory");
}
static inline void must_be_readable(uint64_t at, uint64_t bytes) {
    for (uint64_t p = at; p < at + bytes; p = (p & ~(uint64_t)(page - 1)) + page) (void)*(const volatile char*)p;
}

/* What is on its way out: the island's buffer, and a piece that is sent from where it is. */
struct outgoing {
    unsigned char* end;
    struct piece big;
    uint64_t bytes; /* that the call moves, in or out */
};

static inline uint64_t bytes_of(const struct omx_lane_row* row, int i, const uint64_t* args) {
    uint64_t bytes = row->bytes[i];
    if (row->length_of[i] < 6) {
        bytes = args[row->length_of[i]];
        if (row->width[i] == 4) bytes = (int32_t)bytes < 0 ? 0 : (uint32_t)bytes;
        if (row->width[i] == 5) bytes = (uint32_t)bytes;
    }
    return bytes < row->cap[i] ? bytes : row->cap[i];
}

/* Appends a piece of memory as the marshaller wants it. 0: not for the lane. */
static int append(struct outgoing* out, unsigned kind, uint64_t at, uint64_t bytes) {
    size_t room = (size_t)(buffer + OMX_LANE_SMALL - out->end);
    uint32_t* length = (uint32_t*)(void*)out->end;
    if (out->big.bytes || room < sizeof *length || bytes > OMX_LANE_PAYLOAD || bytes > user_end - at) return 0;
    out->end += sizeof *length;
    out->bytes += bytes;
    room -= sizeof *length;
    *length = (uint32_t)bytes;
    if (kind == OMX_ARG_OUT) {
        must_be_writable(at, bytes);
    } else if (bytes > room / 2) {
        must_be_readable(at, bytes);
        out->big = (struct piece){(const void*)at, bytes};
    } else {
        copy(out->end, (const void*)at, bytes);
        out->end += bytes;
    }
    return 1;
}
static int append_text(struct outgoing* out, uint64_t at) {
    uint32_t* length = (uint32_t*)(void*)out->end;
    unsigned char* to = (unsigned char*)(length + 1);
    size_t n = 0, most = (size_t)(buffer + OMX_LANE_SMALL - out->end);
    if (out->big.bytes || most < sizeof *length + path_max) return 0;
    while (n < path_max && (to[n] = ((const volatile unsigned char*)at)[n]) != 0) n++;
    if (n == path_max) return 0;
    *length = (uint32_t)++n;
    out->end = to + n;
    return 1;
}

/* The call's frame. 0: not for the lane. */
static int write_call(struct outgoing* out, const struct omx_lane_row* row, uint32_t nr, const uint64_t* args) {
    struct frame_header* head = (struct frame_header*)buffer;
    struct call_head* call = (struct call_head*)(head + 1);
    out->end = (unsigned char*)(call + 1);
    out->big = (struct piece){0, 0};
    out->bytes = 0;
    for (int i = 5; i >= 0; i--) {
        unsigned kind = row->kind[i];
        if (kind == OMX_ARG_PLAIN || args[i] == 0 || args[i] >= user_end) continue;
        if (!(kind == OMX_ARG_TEXT ? append_text(out, args[i]) : append(out, kind, args[i], bytes_of(row, i, args))))
            return 0;
    }
    size_t bytes = (size_t)(out->end - (unsigned char*)call) + out->big.bytes;
    *head = (struct frame_header){(uint32_t)bytes, frame_call, 0, (lane->calls + 1) << 32 | (uint32_t)lane->tid};
    call->tid = lane->tid;
    call->nr = nr;
    for (int i = 0; i < 6; i++) call->args[i] = args[i];
    return 1;
}

/* < 0: nothing has left, > 0: all has, 0: the lane has ended. */
static int send_call(const struct outgoing* out) {
    struct piece pieces[2] = {{buffer, (size_t)(out->end - buffer)}, out->big};
    struct message m = {0, 0, 0, pieces, out->big.bytes ? 2 : 1, 0, 0, 0};
    long n = omx_lane_send(lane->fd, &m);
    if (n == -efault) return -1;
    if (n <= 0) return 0;
    for (int i = 0; i < 2; i++) {
        size_t part = (size_t)n < pieces[i].bytes ? (size_t)n : pieces[i].bytes;
        n -= (long)part;
        while (part < pieces[i].bytes) {
            long more = transfer(nr_sendto, (const char*)pieces[i].base + part, pieces[i].bytes - part, no_signal);
            if (more == -eintr) continue;
            if (more <= 0) return 0;
            part += (size_t)more;
        }
    }
    return 1;
}

/* The answer's frame, as it comes in. */
struct incoming {
    size_t at, have; /* in `buffer` */
    uint64_t left; /* bytes of the frame not yet taken */
    uint64_t patience; /* cycles to spin for what comes next */
};

/* Takes n bytes of it. What is big and not here yet comes straight to where it belongs. 0: the lane has ended, or the
 * frame is too short. */
static int take(struct incoming* in, void* to, size_t n) {
    unsigned char* where = to;
    if (n > in->left) return 0;
    in->left -= n;
    while (n) {
        if (in->at < in->have) {
            size_t here = in->have - in->at < n ? in->have - in->at : n;
            copy(where, buffer + in->at, here);
            in->at += here;
            where += here;
            n -= here;
            continue;
        }
        int direct = n >= page;
        long got = wait_for_bytes(direct ? where : buffer, direct ? n : OMX_ISLAND_BUFFER_BYTES, in->patience);
        if (got <= 0) return 0;
        in->patience = lane->spin_cycles;
        if (direct) {
            where += got;
            n -= (size_t)got;
        } else {
            in->at = 0;
            in->have = (size_t)got;
        }
    }
    return 1;
}

/* The answer, with what came back put to where it belongs. 0: the lane has ended or makes no sense. */
static int read_answer(struct reply_head* reply, uint64_t bytes) {
    struct frame_header head;
    struct incoming in = {0, 0, sizeof head, lane->spin_cycles + lane->spin_cycles * bytes / OMX_LANE_PATIENCE};
    if (!take(&in, &head, sizeof head)) return 0;
    if (head.type != frame_lane_reply || head.id != (lane->calls << 32 | (uint32_t)lane->tid)) return 0;
    in.left = head.length;
    if (!take(&in, reply, sizeof *reply)) return 0;
    for (uint32_t i = 0; i < reply->count; i++) {
        uint64_t guest;
        uint32_t length;
        if (!take(&in, &guest, sizeof guest) || !take(&in, &length, sizeof length)) return 0;
        if (length > in.left || !take(&in, (void*)guest, length)) return 0;
    }
    return in.left == 0 && in.at == in.have;
}

long omx_lane_call(struct omx_lane_frame* f) __attribute__((used));
long omx_lane_call(struct omx_lane_frame* f) {
    if (f->rax >= OMX_LANE_CALLS) return OMX_LANE_FALL_BACK;
    unsigned row = lane->row_of[f->rax];
    if (row == 0) return OMX_LANE_FALL_BACK;
    const uint64_t args[6] = {f->rdi, f->rsi, f->rdx, f->r10, f->r8, f->r9};
    struct outgoing out;
    if (!write_call(&out, (const struct omx_lane_row*)&lane->rows[row - 1], (uint32_t)f->rax, args))
        return OMX_LANE_FALL_BACK;
    int sent = send_call(&out);
    if (sent < 0) return OMX_LANE_FALL_BACK;
    lane->calls++;
    struct reply_head reply;
    if (sent == 0 || !read_answer(&reply, out.bytes)) {
        lane->broken = 1;
        return OMX_LANE_SEE_WORKER;
    }
    lane->result = reply.result;
    lane->restart = reply.restart;
    lane->link_frames = reply.link_frames;
    if (!reply.restart) f->rax = (uint64_t)reply.result; /* else it is still to be known which call it was */
    lane->phase = OMX_PHASE_ANSWERED;
    return reply.restart || reply.link_frames > news->link_frames ? OMX_LANE_SEE_WORKER : OMX_LANE_DONE;
}
