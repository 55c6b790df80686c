// A cursor over one line of text from /proc. Every step says whether it found what it should.
#pragma once
#include <charconv>
#include <string_view>

namespace omx {

class TextScan {
public:
    explicit TextScan(std::string_view text) : left_(text) {}
    template <class Int> bool hex(Int& v) { return number(v, 16); }
    template <class Int> bool decimal(Int& v) { return number(v, 10); }
    bool skip(char c) {
        if (left_.empty() || left_.front() != c) return false;
        left_.remove_prefix(1);
        return true;
    }
    // Up to the next space, which stays.
    std::string_view word() {
        std::string_view w = left_.substr(0, left_.find(' '));
        left_.remove_prefix(w.size());
        return w;
    }
    std::string_view rest() const { return left_; }

private:
    template <class Int> bool number(Int& v, int base) {
        auto [end, error] = std::from_chars(left_.data(), left_.data() + left_.size(), v, base);
        if (error != std::errc()) return false;
        left_.remove_prefix(static_cast<size_t>(end - left_.data()));
        return true;
    }
    std::string_view left_;
};

}  // namespace omx
