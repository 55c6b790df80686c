// Home's half of the marshaller: the body of a `call` frame becomes a call that the deputy can make. Nothing in it is
// believed: every size is computed again from row and arguments, every pointer is the arena's.
#include "protocol/marshal_sizes.h"

namespace omx {

namespace {

constexpr uint32_t kAdoptBytes = 4096;       // smaller ones are copied faster than asked about

using namespace marshal;

class Decoder {
public:
    Decoder(const Row& row, HomeCall& call, Reader& in, Arena& arena)
        : row_(row), call_(call), in_(in), arena_(arena) {}

    void argument(uint8_t i, const Arg& arg) {
        uint64_t pointer = call_.guest[i];
        argument_ = i;
        part_ = 0;
        if (arg.shape == Shape::value) { if (arg.show != Show::none) call_.deputy[i] = pointer; return; }
        if (arg.shape == Shape::address) return;
        if (!user_pointer(pointer)) { call_.deputy[i] = foreign(pointer); return; }
        switch (arg.shape) {
        case Shape::value: case Shape::address: return;
        case Shape::buffer: call_.deputy[i] = flat(i, arg); return;
        case Shape::text: call_.deputy[i] = text(arg.size.base); return;
        case Shape::texts: call_.deputy[i] = texts(); return;
        case Shape::iovec: {
            uint64_t count = size_of(arg.size, call_.guest, words_, nullptr);
            call_.deputy[i] = vectors(pointer, count, arg.direction, nullptr).value;
            return;
        }
        case Shape::message: call_.deputy[i] = message(pointer, arg.direction); return;
        case Shape::messages: call_.deputy[i] = messages(i, arg); return;
        case Shape::nested: call_.deputy[i] = nested(pointer, *arg.nested); return;
        }
    }

    bool ok() const { return in_.ok() && why_.empty(); }
    std::string why() const { return why_.empty() ? "is shorter than its pieces" : why_; }

private:
    void refuse(std::string_view why) { if (why_.empty()) why_ = why; in_.refuse(); }
    // NULL stays NULL; what can't be a program's pointer stays one that can't.
    static uint64_t foreign(uint64_t pointer) { return pointer ? kKernelAddress : 0; }
    uint64_t bad() const { return arena_.bad_address().value; }

    struct Laid {
        uint64_t theirs = 0;
        std::byte* ours = nullptr;
        uint32_t n = 0;
    };
    // What O_DIRECT asks of a buffer's alignment, the guest's buffer had or had not: so ours is as far into a sector.
    static constexpr uint64_t kSector = 512;
    static size_t alignment_of(uint64_t guest, uint64_t bytes) {
        if (bytes < kSector) return 8;
        return std::clamp<uint64_t>(guest & -guest, kSector, 4096);
    }
    Laid room(uint32_t n, bool complete, uint64_t guest) {
        if (n == 0) return {bad(), nullptr, 0};
        uint64_t into = complete && n >= kSector ? guest % kSector : 0;
        auto piece = complete ? arena_.allocate(n + into, alignment_of(guest, n)) : arena_.allocate_before_guard(n);
        if (!piece.ours) { refuse("is too big for the arena"); return {bad(), nullptr, 0}; }
        return {piece.theirs.value + into, piece.ours + into, n};
    }
    Laid lay_in(View bytes, bool complete, uint64_t guest) {
        Laid laid = room(static_cast<uint32_t>(bytes.size()), complete, guest);
        if (laid.ours) std::memcpy(laid.ours, bytes.data(), bytes.size());
        call_.in_bytes += bytes.size();
        return laid;
    }

    OutPiece& add_out(const Laid& laid, uint64_t guest, const Back& back) {
        call_.out_capacity += laid.n;
        OutPiece piece{.ours = laid.ours, .capacity = laid.n, .argument = argument_, .part = part_++};
        piece.rule = back.rule;
        piece.when_failed = back.when_failed;
        piece.base = back.base;
        piece.unit = back.unit;
        piece.guest = guest;
        piece.message = message_;
        return call_.outs.emplace_back(piece);
    }
    // A part of what is laid out already, sent back as it is.
    void add_out_part(const Laid& laid, uint64_t guest, uint32_t offset, uint32_t bytes) {
        add_out({laid.theirs + offset, laid.ours + offset, bytes}, guest + offset, {});
    }

    uint64_t flat(uint8_t i, const Arg& arg) {
        uint64_t pointer = call_.guest[i];
        Laid laid;
        if (uint32_t head = size_head(arg.size)) {
            laid = measured(pointer, arg, head);
        } else {
            uint64_t bytes = size_of(arg.size, call_.guest, words_, nullptr);
            bool lowers = lowerable(row_, arg);
            if (lowers && !user_range(pointer, bytes)) return kKernelAddress;
            uint64_t fits = std::min(bytes, budget_.left(goes_in(arg.direction), comes_out(arg.direction)));
            if (lowers && fits < bytes) call_.deputy[arg.size.argument] = fits;      // it stands behind the buffer
            laid = piece(pointer, lowers ? fits : bytes, arg.direction);
        }
        if (laid.n >= sizeof(uint32_t) && goes_in(arg.direction)) words_[i] = word_;
        if (comes_out(arg.direction) && laid.n) out_of(arg, laid, pointer);
        return laid.theirs;
    }
    void out_of(const Arg& arg, const Laid& laid, uint64_t guest) {
        const std::byte* word = nullptr;
        if (arg.back.rule == BackRule::word_behind) {
            word = word_of(arg.back.argument);
            if (!word) return;                   // the call can't succeed without its length
        }
        OutPiece& out = add_out(laid, guest, arg.back);
        out.soft = arg.direction == Direction::in_maybe_out;
        out.word = arg.back.rule == BackRule::total_inside && laid.n >= sizeof(uint32_t) ? laid.ours : word;
        if (arg.back.rule == BackRule::changed) out.before = copy_of(laid);
    }
    const std::byte* word_of(uint8_t argument) const {
        for (const OutPiece& piece : call_.outs)
            if (piece.argument == argument && piece.capacity >= sizeof(uint32_t)) return piece.ours;
        return nullptr;
    }
    const std::byte* copy_of(const Laid& laid) {
        Laid copy = room(laid.n, true, 0);
        if (copy.ours) std::memcpy(copy.ours, laid.ours, laid.n);
        return copy.ours;
    }

    // u32 n, checked against what may be there.
    uint32_t length(uint64_t most) {
        auto n = in_.get<uint32_t>();
        if (n > most) { refuse("has a piece longer than its buffer"); return 0; }
        return n;
    }
    Laid piece(uint64_t pointer, uint64_t bytes, Direction direction) {
        uint64_t fits = std::min(bytes, budget_.left(goes_in(direction), comes_out(direction)));
        uint32_t n = length(fits);
        budget_.spend(goes_in(direction), comes_out(direction), n);
        if (direction == Direction::out) return room(n, n == bytes, pointer);
        View view = in_.raw(n);
        if (view.size() >= sizeof word_) word_ = load<uint32_t>(view.data());
        if (direction == Direction::in && n == bytes && n >= kAdoptBytes) {
            if (auto adopted = arena_.adopt(view); adopted.ours) {
                call_.in_bytes += n;
                return {adopted.theirs.value, adopted.ours, n};
            }
        }
        return lay_in(view, n == bytes, pointer);
    }
    Laid measured(uint64_t pointer, const Arg& arg, uint32_t head) {
        uint64_t left = budget_.left(goes_in(arg.direction), comes_out(arg.direction));
        uint32_t n = length(std::max<uint64_t>(left, head));
        View view = in_.raw(n);
        if (view.size() < head) { spend_in(arg.direction, n); return lay_in(view, false, pointer); }
        uint64_t bytes = size_of(arg.size, call_.guest, words_, view.data());
        if (n > std::max<uint64_t>(std::min(bytes, left), head)) refuse("has a piece longer than it says itself");
        spend_in(arg.direction, n);
        word_ = load<uint32_t>(view.data());
        return lay_in(view, n >= bytes, pointer);
    }
    void spend_in(Direction direction, uint32_t n) { budget_.spend(true, comes_out(direction), n); }

    // Its NUL is the last byte, or it has none and ends where memory does, or where the kernel gives up.
    uint64_t text(uint64_t limit) {
        uint32_t n = length(std::min(limit, budget_.in));
        budget_.spend(true, false, n);
        View view = in_.raw(n);
        if (view.empty()) return bad();
        auto nul = static_cast<const std::byte*>(std::memchr(view.data(), 0, view.size()));
        if (nul && nul != &view.back()) { refuse("has a string with a NUL within"); return bad(); }
        return lay_in(view, nul != nullptr, 0).theirs;
    }

    uint64_t texts() {
        auto count = in_.get<uint32_t>(), ended = in_.get<uint32_t>();
        uint64_t most = std::min(in_.left() / sizeof(uint32_t), kTextsBytes / sizeof(uint64_t));
        if (ended > 1 || count > most) { refuse("has an impossible list of strings"); return bad(); }
        uint64_t bytes = (uint64_t{count} + ended) * sizeof(uint64_t);
        Laid array = room(static_cast<uint32_t>(bytes), ended == 1, 0);
        if (!array.ours) return bad();
        for (uint32_t i = 0; i < count && ok(); ++i) {
            uint64_t pointer = text(kTextBytes);
            std::memcpy(array.ours + i * sizeof pointer, &pointer, sizeof pointer);
        }
        if (ended) std::memset(array.ours + count * sizeof(uint64_t), 0, sizeof(uint64_t));
        return array.theirs;
    }

    struct VectorArray { uint64_t value = 0; View guest; std::byte* ours = nullptr; };
    VectorArray vector_array(uint64_t pointer, uint64_t count) {
        if (!user_pointer(pointer)) return {foreign(pointer), {}, nullptr};
        if (count == 0 || count > kVectors) return {bad(), {}, nullptr};        // refused by count
        uint32_t n = length(count * kVectorBytes);
        budget_.spend(true, false, n);
        if (n != 0 && n != count * kVectorBytes) refuse("has half an array of vectors");
        View view = in_.raw(n);
        Laid laid = lay_in(view, true, 0);
        return {laid.theirs, view, laid.ours};
    }
    // `word`: where the amount received is found, if it isn't the result.
    void vector_contents(const VectorArray& array, Direction direction, const std::byte* word) {
        if (!array.ours) return;
        for (size_t at = 0; at < array.guest.size() && ok(); at += kVectorBytes) {
            auto v = load<Vector>(array.guest.data() + at);
            if (v.bytes == 0) continue;
            if (user_range(v.base, v.bytes)) vector(v, direction, word);
            else v.base = foreign(v.base) ? kKernelAddress : 0;
            std::memcpy(array.ours + at, &v, sizeof v);
        }
    }
    void vector(Vector& v, Direction direction, const std::byte* word) {
        uint64_t guest = v.base;
        v.bytes = std::min(v.bytes, budget_.left(goes_in(direction), comes_out(direction)));
        Laid laid = piece(guest, v.bytes, direction);
        v.base = laid.theirs;
        if (direction != Direction::out) return;
        // A bad vector, too, takes part in the sharing: what lies behind it is never reached.
        add_out(laid, guest, {.rule = BackRule::result}).word = word;
    }
    VectorArray vectors(uint64_t pointer, uint64_t count, Direction direction, const std::byte* word) {
        VectorArray array = vector_array(pointer, count);
        part_ = 0;
        vector_contents(array, direction, word);
        return array;
    }

    uint64_t message(uint64_t pointer, Direction direction) {
        uint32_t n = length(kMessageBytes);
        budget_.spend(true, comes_out(direction), n);
        if (n == 0) return bad();
        View view = in_.raw(n);
        if (n != kMessageBytes) { refuse("has half a message header"); return bad(); }
        if (view.size() != n) return bad();
        Laid laid = lay_in(view, true, 0);
        if (laid.ours) message_parts(laid, view, pointer, direction, true, nullptr);
        return laid.theirs;
    }
    bool message_parts(const Laid& laid, View view, uint64_t guest, Direction direction, bool first,
                       const std::byte* word) {
        auto m = load<Message>(view.data());
        VectorArray array = vector_array(m.vectors, m.count);
        if (array.ours && !first) {
            uint64_t left = budget_.left(goes_in(direction), comes_out(direction));
            if (total_of(array.guest.data(), m.count, left) >= left) return false;
        }
        m.vectors = array.value;
        part_ = 0;
        vector_contents(array, direction, word);
        if (user_pointer(m.name)) m.name = name(m, laid, direction);
        else m.name = foreign(m.name);
        if (user_pointer(m.control)) m.control = control(m, laid, direction);
        else m.control = foreign(m.control);
        std::memcpy(laid.ours, &m, sizeof m);
        if (direction == Direction::out) {
            add_out_part(laid, guest, offsetof(Message, name_bytes), sizeof m.name_bytes);
            add_out_part(laid, guest, offsetof(Message, control_bytes), sizeof m.control_bytes);
            add_out_part(laid, guest, offsetof(Message, flags), sizeof m.flags);
        }
        return true;
    }
    uint64_t name(const Message& m, const Laid& header, Direction direction) {
        if (static_cast<int32_t>(m.name_bytes) <= 0) return bad();
        Laid laid = piece(m.name, std::min<uint32_t>(m.name_bytes, kNameBytes), direction);
        if (direction == Direction::out && laid.n)
            add_out(laid, m.name, {.rule = BackRule::word_behind}).word = header.ours + offsetof(Message, name_bytes);
        return laid.theirs;
    }
    uint64_t control(const Message& m, const Laid& header, Direction direction) {
        if (m.control_bytes == 0) return bad();
        Laid laid = piece(m.control, std::min<uint64_t>(m.control_bytes, kControlBytes), direction);
        if (direction == Direction::out && laid.n) {
            OutPiece& out = add_out(laid, m.control, {.rule = BackRule::word_behind});
            out.word = header.ours + offsetof(Message, control_bytes);
            out.word_bytes = sizeof m.control_bytes;
        }
        return laid.theirs;
    }

    uint64_t messages(uint8_t i, const Arg& arg) {
        uint64_t pointer = call_.guest[i];
        uint64_t count = std::min<uint64_t>(size_of(arg.size, call_.guest, words_, nullptr), kVectors);
        uint32_t n = length(count * kMultiBytes);
        budget_.spend(true, true, n);
        View view = in_.raw(n);
        Laid laid = lay_in(view, n == count * kMultiBytes, 0);
        if (!laid.ours) return laid.theirs;
        for (uint32_t k = 0; k < view.size() / kMultiBytes && ok(); ++k) {
            if (one_message(laid, view, pointer, k, arg.direction)) continue;
            call_.deputy[arg.size.argument] = k;         // the rest doesn't fit: fewer messages
            break;
        }
        message_ = -1;
        return laid.theirs;
    }
    bool one_message(const Laid& all, View view, uint64_t pointer, uint32_t k, Direction direction) {
        size_t at = k * kMultiBytes;
        Laid laid{all.theirs + at, all.ours + at, kMultiBytes};
        message_ = static_cast<int16_t>(k);
        const std::byte* word = laid.ours + offsetof(MultiMessage, bytes);
        if (!message_parts(laid, view.subspan(at, kMultiBytes), pointer + at, direction, k == 0, word)) return false;
        add_out_part(laid, pointer + at, offsetof(MultiMessage, bytes), sizeof(uint32_t));
        return true;
    }

    uint64_t nested(uint64_t pointer, const Nested& rule) {
        uint32_t n = length(rule.bytes);
        budget_.spend(true, rule.back_bytes != 0, n);
        View view = in_.raw(n);
        Laid laid = lay_in(view, n == rule.bytes, 0);
        if (!laid.ours || view.size() < rule.bytes) return laid.theirs;
        bool followed = rule.only_if_at < 0 || load<uint32_t>(view.data() + rule.only_if_at) == rule.only_if;
        if (followed) nested_pointer(laid, view, rule);
        if (rule.back_bytes) add_out_part(laid, pointer, rule.back_at, rule.back_bytes);
        return laid.theirs;
    }
    void nested_pointer(const Laid& outer, View view, const Nested& rule) {
        auto guest = load<uint64_t>(view.data() + rule.pointer_at);
        uint64_t theirs = foreign(guest);
        if (user_pointer(guest)) {
            Laid laid = piece(guest, size_of(rule.inner, call_.guest, words_, view.data()), rule.direction);
            theirs = laid.theirs;
            if (rule.direction == Direction::out && laid.n) {
                OutPiece& out = add_out(laid, guest, rule.back);
                if (rule.back.rule == BackRule::total_inside) out.word = outer.ours + rule.back_at;
            }
        }
        std::memcpy(outer.ours + rule.pointer_at, &theirs, sizeof theirs);
    }

    const Row& row_;
    HomeCall& call_;
    Reader& in_;
    Arena& arena_;
    Budget budget_;
    Words words_{};
    uint32_t word_ = 0;                  // the first word of the last piece that came in
    uint8_t argument_ = 0;
    uint16_t part_ = 0;
    int16_t message_ = -1;
    std::string why_;
};

Result<CallHead> read_head(Reader& in) {
    auto head = in.get<CallHeader>();
    if (!in.ok()) return fail("a call frame is shorter than its head");
    CallHead result{HomeTid(head.tid), head.nr, {}};
    std::ranges::copy(head.args, result.args.begin());
    return result;
}

}  // namespace

Result<CallHead> peek_call(View body) {
    Reader in(body);
    return read_head(in);
}

Result<HomeCall> decode_call(View body, Arena& arena) {
    Reader in(body);
    auto head = read_head(in);
    if (!head) return std::unexpected(head.error());
    const Row* row = find_row(head->nr);
    if (!row) return fail(fmt::format("a call frame asks for system call {}, which is not in the table", head->nr));
    HomeCall call{.tid = head->tid, .nr = head->nr, .guest = head->args};
    const Args& described = form_of(*row, call.guest).args();
    Decoder decoder(*row, call, in, arena);
    for (uint8_t i = 6; i-- > 0;) decoder.argument(i, described[i]);
    if (!decoder.ok()) return fail(fmt::format("a call frame for {} {}", row->name, decoder.why()));
    if (!in.finished()) return fail(fmt::format("a call frame for {} is longer than its pieces", row->name));
    return call;
}

}  // namespace omx
