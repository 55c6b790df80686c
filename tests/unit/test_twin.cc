#include "protocol/frames.h"
#include "protocol/twin.h"
#include <doctest/doctest.h>
#include <random>

using namespace omx;

namespace {
Bytes some(size_t size, uint8_t fill) { return Bytes(size, std::byte{fill}); }
}  // namespace

TEST_CASE("a twin tells exactly the bytes that differ, in runs") {
    auto now = some(300, 0);
    Twin twin{View(now)};
    CHECK(twin.same(now.data()));
    CHECK(twin.take(View(now)).empty());
    for (size_t at : {0u, 63u, 64u, 65u, 299u}) now[at] = std::byte{7};
    CHECK(!twin.same(now.data()));
    auto changes = twin.take(View(now));
    REQUIRE(changes.size() == 3);
    CHECK(changes[0].offset == 0);
    CHECK(changes[1].offset == 63);
    CHECK(changes[1].data.size() == 3);           // over the border of what is compared at once
    CHECK(changes[2].offset == 299);
    CHECK(changes[2].data[0] == std::byte{7});
    CHECK(twin.same(now.data()));
}

TEST_CASE("two ends that change different bytes of a word have both changes in the end") {
    auto home = some(8, 1), node = some(8, 1);
    Twin at_home{View(home)}, at_node{View(node)};
    home[2] = std::byte{20}, node[3] = std::byte{30};
    auto from_home = at_home.take(View(home)), from_node = at_node.take(View(node));
    REQUIRE(from_home.size() == 1);
    REQUIRE(from_node.size() == 1);
    at_node.agree(from_home[0]), node[2] = from_home[0].data[0];
    at_home.agree(from_node[0]), home[3] = from_node[0].data[0];
    CHECK(home == node);
    CHECK(at_home.same(home.data()));
    CHECK(at_node.same(node.data()));
}

TEST_CASE("a twin that grows has zeroes there") {
    auto now = some(4, 9);
    Twin twin{View(now)};
    now.resize(6);
    twin.resize(6);
    CHECK(twin.same(now.data()));
    twin.resize(2);
    CHECK(twin.size() == 2);
}

TEST_CASE("whatever changes between two looks is told, once") {
    std::mt19937 random(4711);
    Bytes now(kMaxSharedBytes), other = now;
    Twin twin{View(now)};
    for (int round = 0; round < 200; round++) {
        for (unsigned i = random() % 50; i > 0; i--) now[random() % now.size()] = static_cast<std::byte>(random());
        SharedFrame news{.handle = 1, .changes = twin.take(View(now))};
        auto body = encode_frame(news);
        auto heard = SharedFrame::decode(View(body));
        REQUIRE(heard);
        for (auto& c : heard->changes) std::memcpy(other.data() + c.offset, c.data.data(), c.data.size());
        CHECK(other == now);
        CHECK(twin.take(View(now)).empty());
    }
}

TEST_CASE("changes out of order, without bytes or beyond what can be shared are refused") {
    auto data = some(8, 1);
    auto refused = [&](std::vector<Change> changes, uint64_t bytes = 0) {
        return !SharedFrame::decode(View(encode_frame(SharedFrame{1, 1, bytes, std::move(changes)})));
    };
    CHECK(!refused({{0, View(data)}, {8, View(data)}}));
    CHECK(refused({{0, View(data)}, {7, View(data)}}));
    CHECK(refused({{8, View(data)}, {0, View(data)}}));
    CHECK(refused({{0, View()}}));
    CHECK(!refused({{kMaxSharedBytes - 8, View(data)}}));
    CHECK(refused({{kMaxSharedBytes - 7, View(data)}}));
    CHECK(refused({{0xffffffff, View(data)}}));
    CHECK(refused({}, kMaxSharedBytes + 1));
}
