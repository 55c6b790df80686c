// The way back: what the kernel wrote at home is sent and written to the guest's memory.
#include "protocol/marshal_sizes.h"

namespace omx {

namespace {

using marshal::load;

struct ReplyHeader { int64_t result; uint16_t restart, zero; uint32_t count; };
static_assert(sizeof(ReplyHeader) == 16);
constexpr uint32_t kSoft = 1u << 31;        // in a piece's length: the guest's memory may refuse it

// How much of each piece counts. The arena is memory that the deputy can write at any time: each word in it is copied
// once, and bounds nothing but what was laid out.
class Amounts {
public:
    explicit Amounts(const ReplyHead& head) : result_(head.result), failed_(head.result < 0 || head.restart != 0) {}

    uint32_t of(const OutPiece& piece) {
        if (failed_ && !piece.when_failed) return 0;
        if (piece.message >= 0 && piece.message >= result_) return 0;
        return static_cast<uint32_t>(std::min<uint64_t>(wanted(piece), piece.capacity));
    }

private:
    uint64_t wanted(const OutPiece& piece) {
        switch (piece.rule) {
        case BackRule::whole: return piece.capacity;
        case BackRule::result: return shared(piece);
        case BackRule::result_if_fits: return amount(piece) <= piece.capacity ? amount(piece) : 0;
        case BackRule::positive: return result_ > 0 ? piece.capacity : 0;
        case BackRule::word_behind: case BackRule::total_inside: return word(piece);
        case BackRule::changed: return changed(piece);
        }
        return 0;
    }
    // Several vectors share one amount: the first ones are filled first.
    uint64_t shared(const OutPiece& piece) {
        if (piece.part == 0) left_ = piece.word ? word(piece) : amount(piece);
        uint64_t n = std::min<uint64_t>(left_, piece.capacity);
        left_ -= n;
        return n;
    }
    uint64_t amount(const OutPiece& piece) const {
        uint64_t bytes = 0;
        if (result_ < 0 || __builtin_mul_overflow(static_cast<uint64_t>(result_), piece.unit, &bytes)) return 0;
        return bytes + piece.base;
    }
    static uint64_t word(const OutPiece& piece) {
        if (!piece.word) return 0;
        if (piece.word_bytes == sizeof(uint64_t)) return load<uint64_t>(piece.word);
        auto v = load<int32_t>(piece.word);
        return v < 0 ? 0 : static_cast<uint64_t>(v);
    }
    static uint64_t changed(const OutPiece& piece) {
        uint64_t n = piece.capacity;
        while (n > 0 && piece.ours[n - 1] == piece.before[n - 1]) --n;
        return n;
    }

    int64_t result_;
    bool failed_;
    uint64_t left_ = 0;
};

bool restart_class(uint16_t r) { return r == 0 || r == kComeHome || r == 512 || r == 513 || r == 514 || r == 516; }

}  // namespace

namespace {

constexpr size_t kTailBytes = 32 << 10;      // from here on a copy costs more than a second piece to send

// Returns the last piece's bytes if they were left out.
View encode(const HomeCall& call, const ReplyHead& head, Writer& out, bool leave_tail) {
    size_t start = out.out().size();
    out.put(ReplyHeader{head.result, head.restart, 0, 0});
    Amounts amounts(head);
    uint32_t count = 0;
    View tail;
    for (const OutPiece& piece : call.outs) {
        uint32_t n = amounts.of(piece);
        if (n == 0) continue;
        out.raw(tail.data(), tail.size());               // it wasn't the last one
        tail = View(piece.ours, n);
        out.put(piece.guest);
        out.put(n | (piece.soft ? kSoft : 0));
        ++count;
    }
    std::memcpy(out.out().data() + start + offsetof(ReplyHeader, count), &count, sizeof count);
    if (leave_tail && tail.size() >= kTailBytes) return tail;
    out.raw(tail.data(), tail.size());
    return {};
}

}  // namespace

void encode_reply(const HomeCall& call, const ReplyHead& head, Writer& out, View attachment) {
    encode(call, head, out, false);
    out.raw(attachment.data(), attachment.size());
}

View encode_reply_but_tail(const HomeCall& call, const ReplyHead& head, Writer& out) {
    return encode(call, head, out, true);
}

// Whose buffers they are home has kept, and so they need not be found again from the arguments, which may have changed
// in the guest's memory meanwhile (vectors, message headers).
Result<Reply> apply_reply(View body, uint32_t nr, const CallArgs&, GuestMemory& memory) {
    Reader in(body);
    auto head = in.get<ReplyHeader>();
    if (!in.ok() || !restart_class(head.restart) || head.zero)
        return fail(fmt::format("a reply to system call {} has no proper head", nr));
    Reply reply{{head.result, head.restart}, {}};
    for (uint32_t i = 0; i < head.count; ++i) {
        auto guest = in.get<uint64_t>();
        auto length = in.get<uint32_t>();
        View bytes = in.raw(length & ~kSoft);
        if (!in.ok()) return fail(fmt::format("a reply to system call {} is shorter than its pieces", nr));
        bool written = memory.write(GuestAddr(guest), bytes) == bytes.size();
        // Memory that was writable before the call and no longer is: what the kernel says when that happens to it.
        if (!written && !(length & kSoft) && reply.head.result >= 0) reply.head.result = -EFAULT;
    }
    reply.attachment = in.raw(in.left());
    return reply;
}

}  // namespace omx
