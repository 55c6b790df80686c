// Reading and writing of little-endian wire data. The reader takes any bytes without harm: it never reads past
// the end, and after the first mistake every further read gives zeroes and ok() is false, so that a decoder may
// read a whole struct and ask once.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace omx {

static_assert(std::endian::native == std::endian::little, "x86-64 only: wire integers are copied as they are");

using Bytes = std::vector<std::byte>;
using View = std::span<const std::byte>;

class Writer {
public:
    explicit Writer(Bytes& out) : out_(out) {}
    template <class T> requires std::is_trivially_copyable_v<T> void put(const T& v) { raw(&v, sizeof v); }
    void raw(const void* data, size_t size) {
        auto p = static_cast<const std::byte*>(data);
        out_.insert(out_.end(), p, p + size);
    }
    void bytes(View v) { put(static_cast<uint32_t>(v.size())); raw(v.data(), v.size()); }    // u32 length first
    void text(std::string_view s) { put(static_cast<uint32_t>(s.size())); raw(s.data(), s.size()); }
    // Room for `size` bytes that the caller fills; valid until the next call.
    std::byte* room(size_t size) { out_.resize(out_.size() + size); return out_.data() + out_.size() - size; }
    Bytes& out() { return out_; }
private:
    Bytes& out_;
};

class Reader {
public:
    explicit Reader(View in) : in_(in) {}
    template <class T> requires std::is_trivially_copyable_v<T> T get() {
        T v{};
        if (auto p = take(sizeof v)) std::memcpy(&v, p, sizeof v);
        return v;
    }
    // A view into the input: lives as long as the input does.
    View bytes() { auto n = get<uint32_t>(); auto p = take(n); return p ? View(p, n) : View(); }
    View raw(size_t n) { auto p = take(n); return p ? View(p, n) : View(); }
    std::string text() { auto v = bytes(); return {reinterpret_cast<const char*>(v.data()), v.size()}; }
    bool ok() const { return ok_; }
    bool finished() const { return ok_ && at_ == in_.size(); }
    size_t left() const { return in_.size() - at_; }
    void refuse() { ok_ = false; at_ = in_.size(); }
private:
    const std::byte* take(size_t n) {
        if (!ok_ || n > in_.size() - at_) { refuse(); return nullptr; }
        auto p = in_.data() + at_;
        at_ += n;
        return p;
    }
    View in_;
    size_t at_ = 0;
    bool ok_ = true;
};

}  // namespace omx
