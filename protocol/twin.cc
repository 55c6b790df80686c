#include "protocol/twin.h"
#include <algorithm>

namespace omx {

std::vector<Change> Twin::take(View now) {
    constexpr size_t kBlock = 64;
    std::vector<Change> changes;
    size_t size = std::min(now.size(), bytes_.size());
    for (size_t block = 0; block < size; block += kBlock) {
        size_t end = std::min(block + kBlock, size);
        if (std::memcmp(now.data() + block, bytes_.data() + block, end - block) == 0) continue;
        for (size_t at = block; at < end; at++) {
            if (now[at] == bytes_[at]) continue;
            bytes_[at] = now[at];
            bool goes_on = !changes.empty() && changes.back().offset + changes.back().data.size() == at;
            if (goes_on) changes.back().data = View(changes.back().data.data(), changes.back().data.size() + 1);
            else changes.push_back({static_cast<uint32_t>(at), View(bytes_).subspan(at, 1)});
        }
    }
    return changes;
}

}  // namespace omx
