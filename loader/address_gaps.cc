#include "loader/address_gaps.h"
#include <algorithm>
#include <iterator>

namespace omx {

void AddressGaps::take(uint64_t start, uint64_t end) {
    if (start >= end) return;
    auto at = taken_.upper_bound(start);
    if (at != taken_.begin() && std::prev(at)->second >= start) at = std::prev(at);
    while (at != taken_.end() && at->first <= end) {
        start = std::min(start, at->first);
        end = std::max(end, at->second);
        at = taken_.erase(at);
    }
    taken_.emplace(start, end);
}

std::optional<uint64_t> AddressGaps::lowest(uint64_t low, uint64_t high, uint64_t bytes) const {
    uint64_t at = low;
    for (auto [start, end] : taken_) {
        if (start > at && start - at >= bytes) break;
        at = std::max(at, end);
    }
    return at < high && high - at >= bytes ? std::optional(at) : std::nullopt;
}

std::optional<uint64_t> AddressGaps::highest(uint64_t low, uint64_t high, uint64_t bytes) const {
    uint64_t end_of_gap = high;
    for (auto it = taken_.rbegin(); it != taken_.rend(); ++it) {
        if (it->second < end_of_gap && end_of_gap - it->second >= bytes) break;
        end_of_gap = std::min(end_of_gap, it->first);
    }
    return end_of_gap > low && end_of_gap - low >= bytes ? std::optional(end_of_gap - bytes) : std::nullopt;
}

std::vector<std::pair<uint64_t, uint64_t>> AddressGaps::within(uint64_t low, uint64_t high) const {
    std::vector<std::pair<uint64_t, uint64_t>> gaps;
    for (auto [start, end] : taken_) {
        if (start >= high) break;
        if (start > low) gaps.emplace_back(low, start);
        low = std::max(low, end);
    }
    if (low < high) gaps.emplace_back(low, high);
    return gaps;
}

}  // namespace omx
