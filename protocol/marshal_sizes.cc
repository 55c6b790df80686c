#include "protocol/marshal_sizes.h"

namespace omx::marshal {

namespace {

uint64_t product(uint64_t count, uint64_t unit, uint64_t base) {
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(count, unit, &bytes) || __builtin_add_overflow(bytes, base, &bytes)) return UINT64_MAX;
    return bytes;
}

// Negative lengths are refused by the kernel before it touches the buffer: nothing to carry.
uint64_t argument_value(const Size& s, const CallArgs& args) {
    uint64_t value = args[s.argument];
    if (s.width == 4) { auto v = static_cast<int32_t>(value); return v < 0 ? 0 : static_cast<uint64_t>(v); }
    return s.width == 5 ? static_cast<uint32_t>(value) : value;
}

uint64_t whole_words(int32_t value, int bias) {
    auto count = int64_t{value} + bias;
    if (count <= 0) return 0;
    return (static_cast<uint64_t>(count) + 63) / 64 * 8;
}

uint64_t inner_word(const Size& s, const std::byte* head) {
    switch (s.width) {
    case 2: return load<uint16_t>(head + s.offset);
    case 4: return load<uint32_t>(head + s.offset);
    default: return load<uint64_t>(head + s.offset);
    }
}

uint64_t uncapped(const Size& s, const CallArgs& args, const Words& words, const std::byte* head) {
    switch (s.rule) {
    case SizeRule::fixed: return s.base;
    case SizeRule::times: return product(argument_value(s, args), s.unit, s.base);
    case SizeRule::bits: return whole_words(static_cast<int32_t>(args[s.argument]), s.bias);
    case SizeRule::word_behind: {
        auto word = static_cast<int32_t>(words[s.argument]);
        return word < 0 ? 0 : product(static_cast<uint64_t>(word), s.unit, s.base);
    }
    case SizeRule::inside: return product(inner_word(s, head), s.unit, s.base);
    case SizeRule::total_inside: return std::max<uint64_t>(s.base, inner_word(s, head));
    }
    return 0;
}

}  // namespace

uint64_t size_of(const Size& s, const CallArgs& args, const Words& words, const std::byte* head) {
    return std::min<uint64_t>(uncapped(s, args, words, head), s.cap == UINT32_MAX ? UINT64_MAX : s.cap);
}

uint64_t total_of(const std::byte* vectors, uint64_t count, uint64_t enough) {
    uint64_t total = 0;
    for (uint64_t i = 0; i < count && total < enough; ++i)
        total += std::min(load<Vector>(vectors + i * kVectorBytes).bytes, enough);
    return total;
}

}  // namespace omx::marshal
