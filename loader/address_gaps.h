// Where in an address space there is room.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace omx {

class AddressGaps {
public:
    // [start, end) is taken; ranges may overlap. Empty ones are ignored.
    void take(uint64_t start, uint64_t end);
    // The lowest (highest) address with `bytes` free within [low, high); all page aligned.
    std::optional<uint64_t> lowest(uint64_t low, uint64_t high, uint64_t bytes) const;
    std::optional<uint64_t> highest(uint64_t low, uint64_t high, uint64_t bytes) const;

    // All that is free within [low, high), ascending.
    std::vector<std::pair<uint64_t, uint64_t>> within(uint64_t low, uint64_t high) const;

private:
    std::map<uint64_t, uint64_t> taken_;        // start to end, disjoint
};

}  // namespace omx
