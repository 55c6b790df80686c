// A system call's way from the guest to its deputy and back, driven by the table's rows alone: no call has code of
// its own here unless its row says `special`. Both ends compute sizes from the row and the arguments; home recomputes
// everything and refuses a frame that does not agree (S5), so that only pointers built by home reach the deputy.
//
// Bad pointers (F23, F24): an in-buffer of which only the first k bytes are readable travels as k bytes and is laid
// out so that it ends at a guard page; one that is not readable at all becomes an unmapped address: home's kernel
// then reports EFAULT in its own order. Out-buffers are checked for writability before the call is forwarded and
// treated the same way. NULL stays NULL.
//
// Wire form of a call: i32 thread, u32 number, u64 arguments[6], then the pieces of memory from the last argument to
// the first, because a length word stands behind the buffer that it measures: home always knows a length before it
// meets what it bounds. A flat piece is u32 n (readable, for an out-buffer writable, leading bytes) and, if it goes in,
// n bytes. NULL pointers and such as can't be a program's have no piece: both ends see them in the arguments.
// Wire form of a reply: i64 result, u16 restart, u16 zero, u32 count, then per out-buffer u64 guest address, u32 n and
// n bytes, then the attachment.
//
// More than kMaxPayload bytes in one direction don't fit a frame. Reads, writes, sends and receives of more are made
// shorter (as the kernel itself does beyond 2 GiB): they return a short count. recvmmsg and sendmmsg handle fewer
// messages. Any other buffer is laid out up to there, before a guard page.
#pragma once
#include "protocol/frames.h"
#include "protocol/guest_memory.h"
#include "protocol/table.h"

namespace omx {

constexpr uint64_t kMaxPayload = kMaxFrameBytes - (1u << 20);

// ---- on the node ----

// Appends the body of a `call` frame. An error is a person's sentence (for example: more than 2 GiB of iovecs).
Status encode_call(HomeTid tid, uint32_t nr, const CallArgs& args, GuestMemory&, Writer& out);

// As a reply's restart class: nothing was done, only home can make this call; the attachment says why.
constexpr uint16_t kComeHome = 1;
struct ReplyHead {
    int64_t result = 0;          // as in rax: value or -errno
    uint16_t restart = 0;        // 0, kComeHome, or the class at the deputy's signal stop: 512, 513, 514 or 516
};
struct Reply {
    ReplyHead head;
    View attachment;             // call specific (FileKey after mmap), empty otherwise
};
// Reads a `reply` body and writes the out-buffers into the guest. `args` are those of the call.
Result<Reply> apply_reply(View body, uint32_t nr, const CallArgs& args, GuestMemory&);

// ---- at home ----

// Memory that both the supervisor and the deputy that runs the call can address.
class Arena {
public:
    struct Piece {
        std::byte* ours = nullptr;
        DeputyAddr theirs;
    };
    virtual ~Arena() = default;
    virtual Piece allocate(size_t bytes, size_t alignment) = 0;
    virtual Piece allocate_before_guard(size_t bytes) = 0;      // the byte behind it is not mapped for the deputy
    virtual DeputyAddr bad_address() const = 0;                 // never mapped there
    // Uses bytes of the frame where they are, to save copying them; an empty piece: copy them. Only in-buffers.
    virtual Piece adopt(View) { return {}; }
};

struct OutPiece {                // an out-buffer as laid out, with all that is needed to send it back
    const std::byte* ours;
    uint32_t capacity;           // bytes laid out
    uint8_t argument;
    uint16_t part = 0;           // index within iovec or msghdr pieces; 0 starts a new sharing of the result
    // From here on opaque to users.
    BackRule rule = BackRule::whole;
    bool when_failed = false;
    bool soft = false;           // a failed write to the guest is no error (Direction::in_maybe_out)
    uint8_t base = 0;
    uint8_t word_bytes = 4;
    int16_t message = -1;        // of a mmsghdr array: valid if the result is greater
    uint32_t unit = 1;
    uint64_t guest = 0;          // where it belongs
    const std::byte* word = nullptr;     // the amount, instead of the result: memory of the arena, copied once
    const std::byte* before = nullptr;   // BackRule::changed: what it was
};

struct HomeCall {
    HomeTid tid;
    uint32_t nr = 0;
    CallArgs guest{};            // as the guest made it: for policy, trace and life calls
    CallArgs deputy{};           // as the deputy must make it: pointers into the arena
    std::vector<OutPiece> outs;
    size_t in_bytes = 0, out_capacity = 0;
};
// Checks the body against the row and lays everything out. The caller has checked that the row's place allows it.
Result<HomeCall> decode_call(View body, Arena&);
// tid, nr and raw args only, with a minimal check; to choose the arena before decode_call.
struct CallHead { HomeTid tid; uint32_t nr = 0; CallArgs args{}; };
Result<CallHead> peek_call(View body);

void encode_reply(const HomeCall&, const ReplyHead&, Writer& out, View attachment = {});
// The same without an attachment, but a big last piece is not copied: it is returned, to be sent right behind `out`.
[[nodiscard]] View encode_reply_but_tail(const HomeCall&, const ReplyHead&, Writer& out);

}  // namespace omx
