// The node's half of the marshaller: a guest's call becomes the body of a `call` frame.
#include "protocol/marshal_sizes.h"

namespace omx {

namespace {

using namespace marshal;

constexpr size_t kChunkBytes = 1u << 20;       // a huge count over a small buffer must not cost a huge allocation
constexpr size_t kFirstTextBytes = 256, kTextStepBytes = 4096;

class Encoder {
public:
    Encoder(const Row& row, const CallArgs& args, GuestMemory& memory, Writer& out)
        : row_(row), args_(args), memory_(memory), out_(out) {}

    void argument(uint8_t i, const Arg& arg) {
        uint64_t pointer = args_[i];
        if (!user_pointer(pointer)) return;
        switch (arg.shape) {
        case Shape::value: case Shape::address: return;
        case Shape::buffer: return flat(i, arg);
        case Shape::text: return text(pointer, arg.size.base);
        case Shape::texts: return texts(pointer);
        case Shape::iovec: return vectors(pointer, size_of(arg.size, args_, words_, nullptr), arg.direction);
        case Shape::message: return message(pointer, arg.direction);
        case Shape::messages: return messages(pointer, size_of(arg.size, args_, words_, nullptr), arg.direction);
        case Shape::nested: return nested(pointer, *arg.nested);
        }
    }

private:
    // A u32 that is known only after what follows it has been written.
    size_t begin_piece() { out_.put(uint32_t{0}); return out_.out().size(); }
    uint32_t end_piece(size_t start) {
        auto n = static_cast<uint32_t>(out_.out().size() - start);
        std::memcpy(out_.out().data() + start - sizeof n, &n, sizeof n);
        return n;
    }
    const std::byte* at(size_t position) const { return out_.out().data() + position; }

    // Appends up to `bytes` of the guest's memory, fewer where it is not readable.
    size_t append(uint64_t from, uint64_t bytes) {
        size_t done = 0;
        while (done < bytes) {
            size_t chunk = std::min<uint64_t>(bytes - done, kChunkBytes);
            std::byte* room = out_.room(chunk);
            size_t n = memory_.read(GuestAddr(from + done), {room, chunk});
            done += n;
            if (n == chunk) continue;
            out_.out().resize(out_.out().size() - (chunk - n));
            break;
        }
        return done;
    }
    // An in-out piece is as long as it is both readable and writable.
    void clip_to_writable(uint64_t pointer, size_t start) {
        size_t n = out_.out().size() - start;
        if (n == 0) return;
        size_t writable = memory_.writable(GuestAddr(pointer), n);
        if (writable < n) out_.out().resize(start + writable);
    }

    void flat(uint8_t i, const Arg& arg) {
        uint64_t pointer = args_[i];
        if (uint32_t head = size_head(arg.size)) return measured(i, arg, head);
        uint64_t bytes = size_of(arg.size, args_, words_, nullptr);
        if (lowerable(row_, arg) && !user_range(pointer, bytes)) return;
        piece(pointer, bytes, arg.direction, &words_[i]);
    }

    // The buffer says its own size.
    void measured(uint8_t i, const Arg& arg, uint32_t head) {
        uint64_t pointer = args_[i];
        size_t start = begin_piece();
        if (append(pointer, head) == head) {
            uint64_t bytes = std::min(size_of(arg.size, args_, words_, at(start)),
                                      budget_.left(goes_in(arg.direction), comes_out(arg.direction)));
            if (bytes > head) append(pointer + head, bytes - head);
        }
        if (arg.direction == Direction::inout) clip_to_writable(pointer, start);
        finish(start, arg.direction, &words_[i]);
    }

    void finish(size_t start, Direction direction, uint32_t* word) {
        uint32_t n = end_piece(start);
        if (word && n >= sizeof *word) std::memcpy(word, at(start), sizeof *word);
        budget_.spend(true, comes_out(direction), n);
    }

    void piece(uint64_t pointer, uint64_t bytes, Direction direction, uint32_t* word = nullptr) {
        bytes = std::min(bytes, budget_.left(goes_in(direction), comes_out(direction)));
        if (direction == Direction::out) {
            auto n = bytes ? static_cast<uint32_t>(memory_.writable(GuestAddr(pointer), bytes)) : 0;
            out_.put(n);
            return budget_.spend(false, true, n);
        }
        size_t start = begin_piece();
        append(pointer, bytes);
        if (direction == Direction::inout) clip_to_writable(pointer, start);
        finish(start, direction, word);
    }

    void text(uint64_t pointer, uint64_t limit) {
        limit = std::min(limit, budget_.in);
        size_t start = begin_piece(), done = 0;
        while (done < limit) {
            size_t step = std::min<uint64_t>(limit - done, done ? kTextStepBytes : kFirstTextBytes);
            std::byte* room = out_.room(step);
            size_t n = memory_.read(GuestAddr(pointer + done), {room, step});
            const void* nul = n ? std::memchr(room, 0, n) : nullptr;
            size_t keep = nul ? static_cast<size_t>(static_cast<const std::byte*>(nul) - room) + 1 : n;
            out_.out().resize(out_.out().size() - (step - keep));
            done += keep;
            if (nul || n < step) break;
        }
        budget_.spend(true, false, end_piece(start));
    }

    // u32 count, u32 1 if the NULL at the end was met (or so many strings that execve refuses them), the strings.
    void texts(uint64_t array) {
        size_t start = out_.out().size();
        out_.put(uint32_t{0});
        out_.put(uint32_t{0});
        uint32_t count = 0, ended = 0;
        uint64_t total = 0;
        std::array<uint64_t, 64> pointers;
        while (!ended) {
            auto room = std::as_writable_bytes(std::span(pointers));
            size_t n = memory_.read(GuestAddr(array + count * sizeof(uint64_t)), room);
            size_t readable = n / sizeof(uint64_t);
            for (size_t i = 0; i < readable && !ended; ++i) {
                if (pointers[i] == 0 || total >= kTextsBytes) { ended = 1; break; }
                size_t before = out_.out().size();
                if (user_pointer(pointers[i])) text(pointers[i], kTextBytes);
                else out_.put(uint32_t{0});
                total += out_.out().size() - before + sizeof(uint64_t);
                ++count;
            }
            if (readable < pointers.size()) break;
        }
        std::memcpy(out_.out().data() + start, &count, sizeof count);
        std::memcpy(out_.out().data() + start + sizeof count, &ended, sizeof ended);
    }

    // The array of vectors itself must be readable as a whole, or the kernel refuses it as a whole.
    // Returns where its bytes are in the output, 0 if it isn't there.
    size_t vector_array(uint64_t pointer, uint64_t count) {
        if (!user_pointer(pointer) || count == 0 || count > kVectors) return 0;
        size_t start = begin_piece();
        if (append(pointer, count * kVectorBytes) < count * kVectorBytes) out_.out().resize(start);
        uint32_t n = end_piece(start);
        budget_.spend(true, false, n);
        return n ? start : 0;
    }
    void vector_contents(size_t array, uint64_t count, Direction direction) {
        for (uint64_t i = 0; i < count; ++i) {
            auto v = load<Vector>(at(array + i * kVectorBytes));
            if (v.bytes == 0 || !user_range(v.base, v.bytes)) continue;
            piece(v.base, v.bytes, direction);
        }
    }
    void vectors(uint64_t pointer, uint64_t count, Direction direction) {
        if (size_t array = vector_array(pointer, count)) vector_contents(array, count, direction);
    }

    void message(uint64_t pointer, Direction direction) {
        size_t start = begin_piece();
        if (append(pointer, kMessageBytes) < kMessageBytes) out_.out().resize(start);
        // A header that is read but can't be written makes the call fail when it is over; nothing can be read here.
        else if (direction == Direction::out && memory_.writable(GuestAddr(pointer), kMessageBytes) < kMessageBytes)
            out_.out().resize(start);
        uint32_t n = end_piece(start);
        budget_.spend(true, comes_out(direction), n);
        if (n) message_parts(load<Message>(at(start)), direction, true);
    }
    // False if the message doesn't fit any more and is not the first: the call is made without it.
    bool message_parts(const Message& m, Direction direction, bool first) {
        size_t array = vector_array(m.vectors, m.count);
        if (array && !first) {
            uint64_t room = budget_.left(goes_in(direction), comes_out(direction));
            if (total_of(at(array), m.count, room) >= room) return false;
        }
        if (array) vector_contents(array, m.count, direction);
        auto name_bytes = static_cast<int32_t>(m.name_bytes);
        if (user_pointer(m.name) && name_bytes > 0)
            piece(m.name, std::min<uint32_t>(m.name_bytes, kNameBytes), direction);
        if (user_pointer(m.control) && m.control_bytes)
            piece(m.control, std::min<uint64_t>(m.control_bytes, kControlBytes), direction);
        return true;
    }

    // Headers that are readable; the kernel takes one after the other and stops at the first that it can't read.
    void messages(uint64_t pointer, uint64_t count, Direction direction) {
        count = std::min<uint64_t>(count, kVectors);
        size_t start = begin_piece();
        append(pointer, count * kMultiBytes);
        clip_to_writable(pointer, start);        // each gets the length of its message
        uint32_t n = end_piece(start);
        budget_.spend(true, true, n);
        for (uint32_t i = 0; i < n / kMultiBytes; ++i)
            if (!message_parts(load<Message>(at(start + i * kMultiBytes)), direction, i == 0)) return;
    }

    void nested(uint64_t pointer, const Nested& rule) {
        size_t start = begin_piece();
        append(pointer, rule.bytes);
        if (rule.back_bytes) clip_to_writable(pointer, start);
        uint32_t n = end_piece(start);
        budget_.spend(true, rule.back_bytes != 0, n);
        if (n < rule.bytes) return;
        auto condition = static_cast<size_t>(rule.only_if_at);
        if (rule.only_if_at >= 0 && load<uint32_t>(at(start + condition)) != rule.only_if) return;
        auto inner = load<uint64_t>(at(start + rule.pointer_at));
        if (!user_pointer(inner)) return;
        piece(inner, size_of(rule.inner, args_, words_, at(start)), rule.direction);
    }

    const Row& row_;
    const CallArgs& args_;
    GuestMemory& memory_;
    Writer& out_;
    Budget budget_;
    Words words_{};
};

}  // namespace

Status encode_call(HomeTid tid, uint32_t nr, const CallArgs& args, GuestMemory& memory, Writer& out) {
    const Row* row = find_row(nr);
    if (!row) return fail(fmt::format("system call {} is not in the table: it can't be forwarded", nr));
    CallHeader head{tid.value, nr, {}};
    std::ranges::copy(args, head.args);
    out.put(head);
    const Args& described = form_of(*row, args).args();
    Encoder encoder(*row, args, memory, out);
    for (uint8_t i = 6; i-- > 0;)
        if (described[i].has_memory()) encoder.argument(i, described[i]);
    return {};
}

}  // namespace omx
