// A file that guests have mapped shared exists twice: the real one at home, a copy on the node. Each end keeps a twin:
// what both agreed on last. Where the file differs from it, this end has changed it, and only those bytes are told:
// what the other end changes meanwhile, a byte beside them, stays.
#pragma once
#include "protocol/bytes.h"

namespace omx {

// Compared before every call and every answer: so there is an end to it.
constexpr size_t kMaxSharedBytes = 64 * 4096;

struct Change {
    uint32_t offset = 0;
    View data;
};

class Twin {
public:
    explicit Twin(View content = {}) : bytes_(content.begin(), content.end()) {}
    View bytes() const { return View(bytes_); }
    size_t size() const { return bytes_.size(); }
    // A file grows by zeroes.
    void resize(size_t size) { bytes_.resize(size); }
    bool same(const std::byte* now) const { return std::memcmp(now, bytes_.data(), bytes_.size()) == 0; }
    // Where `now`, which is as long, differs. From here on that is agreed; the views are into the twin.
    std::vector<Change> take(View now);
    // What the other end has changed.
    void agree(const Change& c) { std::memcpy(bytes_.data() + c.offset, c.data.data(), c.data.size()); }

private:
    Bytes bytes_;
};

}  // namespace omx
