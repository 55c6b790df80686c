#include "protocol/trace.h"
#include "protocol/trace_names.h"
#include <algorithm>
#include <cstring>
#include <list>
#include <sys/uio.h>

namespace omx {

namespace {

constexpr size_t kShownBytes = 32, kShownStrings = 8;

// Lays a call out for reading only: what would be the deputy's pointers are ours.
class ReadingArena : public Arena {
public:
    Piece allocate(size_t bytes, size_t) override {
        pieces_.emplace_back(bytes);
        std::byte* at = pieces_.back().data();
        return {at, DeputyAddr(reinterpret_cast<uint64_t>(at))};
    }
    Piece allocate_before_guard(size_t bytes) override { return allocate(bytes, 1); }
    DeputyAddr bad_address() const override { return DeputyAddr(1); }

    // The laid-out bytes from a pointer on; empty for one that is not ours to follow.
    View from(uint64_t pointer) const {
        for (const Bytes& piece : pieces_) {
            auto start = reinterpret_cast<uint64_t>(piece.data());
            if (pointer >= start && pointer < start + piece.size()) return View(piece).subspan(pointer - start);
        }
        return {};
    }
private:
    std::list<Bytes> pieces_;
};

std::string quoted(View bytes) {
    size_t shown = std::min(bytes.size(), kShownBytes);
    std::string text = "\"";
    for (std::byte b : bytes.first(shown)) {
        auto c = static_cast<char>(b);
        switch (c) {
        case '\n': text += "\\n"; break;
        case '\t': text += "\\t"; break;
        case '\r': text += "\\r"; break;
        case '"': text += "\\\""; break;
        case '\\': text += "\\\\"; break;
        default: text += c >= ' ' && c <= '~' ? std::string(1, c) : fmt::format("\\{:o}", std::to_integer<unsigned>(b));
        }
    }
    return text + (shown < bytes.size() ? "\"..." : "\"");
}

// A string's whole text, and paths are never shortened: they are what one looks for in a trace.
std::string quoted_text(View bytes) {
    auto end = std::ranges::find(bytes, std::byte{0});
    std::string text(reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(end - bytes.begin()));
    std::ranges::replace_if(text, [](char c) { return c < ' ' || c > '~'; }, '?');
    return fmt::format("\"{}\"", text);
}

template <class T> T load(View bytes, size_t at) {
    T v{};
    if (at + sizeof v <= bytes.size()) std::memcpy(&v, bytes.data() + at, sizeof v);
    return v;
}

std::string strings(const ReadingArena& arena, View array) {
    std::string text = "[";
    for (size_t i = 0; i * sizeof(uint64_t) < array.size(); ++i) {
        auto pointer = load<uint64_t>(array, i * sizeof(uint64_t));
        if (pointer == 0) break;
        if (i) text += ", ";
        if (i == kShownStrings) { text += "..."; break; }
        View string = arena.from(pointer);
        text += string.empty() ? "?" : quoted_text(string);
    }
    return text + "]";
}

std::string vectors(const ReadingArena& arena, View array) {
    std::string text = "[";
    for (size_t at = 0; at + sizeof(iovec) <= array.size(); at += sizeof(iovec)) {
        if (at) text += ", ";
        if (at == kShownStrings * sizeof(iovec)) { text += "..."; break; }
        text += quoted(arena.from(load<uint64_t>(array, at)));
    }
    return text + "]";
}

std::string memory_text(const Arg& arg, uint64_t guest, uint64_t laid, const ReadingArena& arena) {
    View bytes = arena.from(laid);
    std::string address = format_value(Show::address, guest);
    if (bytes.empty()) return address;
    switch (arg.shape) {
    case Shape::text: return quoted_text(bytes);
    case Shape::texts: return strings(arena, bytes);
    case Shape::iovec: return arg.direction == Direction::in ? vectors(arena, bytes) : address;
    case Shape::buffer: return arg.direction == Direction::in ? quoted(bytes) : address;
    default: return address;
    }
}

std::string argument_text(const Form& form, size_t i, const CallHead& head, const HomeCall* call,
                          const ReadingArena& arena) {
    const Arg& arg = form.args()[i];
    bool named = form.variant && !form.variant->name.empty();
    if (arg.show == Show::command && named) return std::string(form.variant->name);
    if (call && arg.has_memory()) return memory_text(arg, head.args[i], call->deputy[i], arena);
    return format_value(arg.show, head.args[i]);
}

std::string error_text(int error) {
    const char* name = strerrorname_np(error);
    switch (error) {
    case 512: return "? ERESTARTSYS (interrupted by a signal)";
    case 513: return "? ERESTARTNOINTR (interrupted by a signal)";
    case 514: return "? ERESTARTNOHAND (interrupted by a signal)";
    case 516: return "? ERESTART_RESTARTBLOCK (interrupted by a signal)";
    default: return name ? fmt::format("-1 {} ({})", name, std::strerror(error)) : fmt::format("-1 errno {}", error);
    }
}

}  // namespace

std::string call_text(uint32_t nr) {
    std::string_view name = call_name(nr);
    return name.empty() ? fmt::format("syscall_{}", nr) : std::string(name);
}

std::string format_call(const CallHead& head, View call_body) {
    std::string text = call_text(head.nr) + "(";
    const Row* row = find_row(head.nr);
    if (!row) return text + fmt::format("{:#x})", fmt::join(head.args, ", "));
    ReadingArena arena;
    auto call = decode_call(call_body, arena);
    Form form = form_of(*row, head.args);
    for (size_t i = 0; i < head.args.size() && form.args()[i].show != Show::none; ++i)
        text += (i ? ", " : "") + argument_text(form, i, head, call ? &*call : nullptr, arena);
    return text + ")";
}

std::string format_result(uint32_t nr, int64_t result) {
    if (result < 0 && result >= -4095) return error_text(static_cast<int>(-result));
    const Row* row = find_row(nr);
    switch (row ? row->returns : Returns::number) {
    case Returns::address: case Returns::hex: return fmt::format("{:#x}", static_cast<uint64_t>(result));
    case Returns::octal: return fmt::format("{:#o}", result);
    case Returns::number: break;
    }
    return fmt::format("{}", result);
}

}  // namespace omx
