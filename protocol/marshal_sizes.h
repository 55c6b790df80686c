// What both ends of the marshaller must compute alike. Inner header: only marshal_*.cc include it.
#pragma once
#include "protocol/marshal.h"
#include <algorithm>

namespace omx::marshal {

constexpr uint64_t kUserEnd = 0x7ffffffff000;                  // TASK_SIZE: no program has memory from here on
constexpr uint64_t kKernelAddress = 0xffff800000000000;        // stands for any pointer beyond: EFAULT at once
constexpr uint32_t kVectors = 1024;                            // UIO_MAXIOV
constexpr uint32_t kVectorBytes = 16, kMessageBytes = 56, kMultiBytes = 64;
constexpr uint32_t kNameBytes = 128;                           // sockaddr_storage: the kernel cuts longer ones
constexpr uint64_t kControlBytes = 1u << 20;                   // more than any optmem_max or set of ancillary data
constexpr uint64_t kTextsBytes = 7u << 20;                     // execve says E2BIG from 6 MiB on
constexpr uint32_t kTextBytes = (128u << 10) + 1;              // MAX_ARG_STRLEN and one: E2BIG
constexpr uint64_t kPieceHead = 12;                            // what a piece costs besides its bytes, at most

struct CallHeader { int32_t tid; uint32_t nr; uint64_t args[6]; };
static_assert(sizeof(CallHeader) == 56);

struct Vector { uint64_t base, bytes; };
static_assert(sizeof(Vector) == kVectorBytes);
struct Message {
    uint64_t name;
    uint32_t name_bytes, pad0;
    uint64_t vectors, count, control, control_bytes;
    uint32_t flags, pad1;
};
static_assert(sizeof(Message) == kMessageBytes);
struct MultiMessage { Message head; uint32_t bytes, pad; };
static_assert(sizeof(MultiMessage) == kMultiBytes);

// The bytes that may still travel. Spent the same way at both ends, so that both cut at the same place.
struct Budget {
    uint64_t in = kMaxPayload, out = kMaxPayload;
    uint64_t left(bool goes_in, bool comes_out) const {
        return std::min(goes_in ? in : UINT64_MAX, comes_out ? out : UINT64_MAX);
    }
    void spend(bool goes_in, bool comes_out, uint64_t bytes) {
        bytes += kPieceHead;
        if (goes_in) in -= std::min(in, bytes);
        if (comes_out) out -= std::min(out, bytes);
    }
};

constexpr bool goes_in(Direction d) { return d != Direction::out; }
constexpr bool comes_out(Direction d) { return d != Direction::in; }

inline bool user_pointer(uint64_t p) { return p != 0 && p < kUserEnd; }
// As access_ok() of the kernel: the whole range could be a program's.
inline bool user_range(uint64_t p, uint64_t bytes) { return user_pointer(p) && bytes <= kUserEnd - p; }

// First words of pieces that have been handled already, for SizeRule::word_behind.
using Words = std::array<uint32_t, 6>;

template <class T> T load(const std::byte* p) { T v; std::memcpy(&v, p, sizeof v); return v; }

// Bytes that must be known before the size is: for rules that look inside the buffer.
inline uint32_t size_head(const Size& s) {
    return s.rule == SizeRule::inside || s.rule == SizeRule::total_inside ? s.offset + s.width : 0;
}
// `head` holds size_head() bytes of the buffer.
uint64_t size_of(const Size&, const CallArgs&, const Words&, const std::byte* head);

// May this argument of the call be lowered to what fits?
inline bool lowerable(const Row& row, const Arg& arg) {
    return row.lowers >= 0 && arg.size.rule == SizeRule::times && arg.size.argument == row.lowers;
}

// Sum of the vectors' lengths as the kernel would transfer them; it stops counting at `enough`.
uint64_t total_of(const std::byte* vectors, uint64_t count, uint64_t enough);

}  // namespace omx::marshal
