// How fuzzers break what they feed. Each has words of its own, at the edges of what its decoder compares with.
#pragma once
#include "protocol/bytes.h"
#include <algorithm>
#include <cstring>
#include <random>

namespace omx::fuzz {

using Random = std::mt19937_64;

inline Bytes noise(Random& random, size_t most) {
    Bytes bytes(random() % (most + 1));
    for (auto& b : bytes) b = static_cast<std::byte>(random());
    return bytes;
}

// `least` to least + 3 changes; `nasty` gives a word.
template <class Nasty> void mutate(Bytes& body, Random& random, size_t least, Nasty nasty) {
    for (size_t n = least + random() % 4; n > 0 && !body.empty(); --n) {
        size_t at = random() % body.size();
        auto place = body.begin() + static_cast<ptrdiff_t>(at);
        uint64_t word = nasty(random);
        switch (random() % 6) {
            case 0: body[at] ^= static_cast<std::byte>(1 << random() % 8); break;
            case 1: body.resize(at); break;
            case 2: body.insert(place, random() % 64, std::byte{0}); break;
            case 3: body.erase(place); break;
            case 4: {
                auto more = noise(random, 32);
                body.insert(place, more.begin(), more.end());
                break;
            }
            default: std::memcpy(&*place, &word, std::min<size_t>(size_t{1} << random() % 4, body.size() - at)); break;
        }
    }
}

}  // namespace omx::fuzz
