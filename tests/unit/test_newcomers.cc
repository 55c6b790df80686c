// Who connects to a node is looked at before anybody takes him in; and sockets find their way into a session.
#include "remote/newcomers.h"
#include "remote/pass_socket.h"
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>

using namespace omx;

namespace {

struct Pair {
    UniqueFd a, b;
    explicit Pair(int type = SOCK_STREAM) {
        int fds[2];
        REQUIRE(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
        a.reset(fds[0]);
        b.reset(fds[1]);
    }
};

Bytes frame(FrameType type, const Bytes& body, uint16_t flags = 0) {
    Bytes out;
    Writer w(out);
    w.put(FrameHeader{static_cast<uint32_t>(body.size()), static_cast<uint16_t>(type), flags, 0});
    w.raw(body.data(), body.size());
    return out;
}
Bytes lane_frame() { return frame(FrameType::lane, encode_frame(LaneHello{.token = {7}, .lane = 99})); }
void write(const UniqueFd& fd, View bytes) {
    REQUIRE(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
}
bool closed(const UniqueFd& fd) {
    char byte;
    return recv(fd.get(), &byte, 1, MSG_PEEK) == 0 || errno == ECONNRESET;
}

struct Door {
    std::unique_ptr<Loop> loop = std::move(*Loop::make(LoopKind::epoll));
    std::vector<std::pair<UniqueFd, FirstFrame>> let_in;
    Newcomers newcomers;
    explicit Door(std::chrono::milliseconds patience = Newcomers::kPatience)
        : newcomers(*loop, [this](UniqueFd s, FirstFrame f) { let_in.emplace_back(std::move(s), f); }, patience) {}
    void turn() {
        newcomers.look_at_clock();
        REQUIRE(loop->run_once(0));
    }
};

}  // namespace

TEST_CASE("newcomers: the first frame is seen without being read") {
    auto seen = [](const Bytes& bytes) {
        Pair p;
        if (!bytes.empty()) write(p.b, bytes);
        auto first = peek_first_frame(p.a.get());
        CHECK(peek_first_frame(p.a.get()) == first);
        return first;
    };
    auto lane = lane_frame(), hello = frame(FrameType::hello, encode_frame(Hello{}));
    CHECK(seen({}) == FirstFrame::nothing);
    CHECK(seen(hello) == FirstFrame::hello);
    CHECK(seen(lane) == FirstFrame::lane);
    for (size_t n = 1; n < lane.size(); ++n) CHECK(seen({lane.begin(), lane.begin() + n}) == FirstFrame::part);
    CHECK(seen({hello.begin(), hello.begin() + 16}) == FirstFrame::hello);
    CHECK(seen({hello.begin(), hello.begin() + 15}) == FirstFrame::part);
    CHECK(seen(frame(FrameType::call, {})) == FirstFrame::nonsense);
    CHECK(seen(frame(FrameType::lane, Bytes(27))) == FirstFrame::nonsense);
    CHECK(seen(frame(FrameType::hello, {}, 1)) == FirstFrame::nonsense);
    CHECK(seen(Bytes(100, std::byte{'G'})) == FirstFrame::nonsense);
    Pair p;
    p.b.reset();
    CHECK(peek_first_frame(p.a.get()) == FirstFrame::nonsense);
}

TEST_CASE("newcomers: a lane's beginning is read exactly, hello stays unread") {
    Pair p;
    auto bytes = lane_frame();
    bytes.push_back(std::byte{'x'});
    write(p.b, bytes);
    auto hello = read_lane_hello(p.a.get());
    REQUIRE(hello);
    CHECK(hello->lane == 99);
    CHECK(hello->token == LaneToken{7});
    char rest[10];
    CHECK(recv(p.a.get(), rest, sizeof rest, 0) == 1);
    CHECK_FALSE(read_lane_hello(p.a.get()));

    Door door;
    Pair q;
    write(q.b, frame(FrameType::hello, encode_frame(Hello{})));
    door.newcomers.add(std::move(q.a));      // at once, without a turn of the loop
    REQUIRE(door.let_in.size() == 1);
    CHECK(door.let_in[0].second == FirstFrame::hello);
    CHECK(peek_first_frame(door.let_in[0].first.get()) == FirstFrame::hello);
}

TEST_CASE("newcomers: who comes late or in pieces is let in, who talks nonsense is not") {
    Door door;
    Pair late, pieces, nonsense;
    for (auto* p : {&late, &pieces, &nonsense}) door.newcomers.add(std::move(p->a));
    CHECK(door.let_in.empty());
    write(late.b, lane_frame());
    door.turn();
    REQUIRE(door.let_in.size() == 1);
    CHECK(door.let_in[0].second == FirstFrame::lane);

    auto bytes = lane_frame();
    write(pieces.b, View(bytes).first(20));
    door.turn();
    CHECK(door.newcomers.look_at_clock() == 20'000);      // not watched: it would be readable all the time
    write(pieces.b, View(bytes).subspan(20));
    door.turn();
    REQUIRE(door.let_in.size() == 2);

    write(nonsense.b, Bytes(50, std::byte{0xff}));
    CHECK_FALSE(closed(nonsense.b));
    door.turn();
    CHECK(closed(nonsense.b));
    CHECK(door.let_in.size() == 2);
    CHECK(door.newcomers.look_at_clock() == -1);
}

TEST_CASE("newcomers: the silent ones have to go, after a time or for others") {
    Door door(std::chrono::milliseconds(30));
    Pair silent;
    door.newcomers.add(std::move(silent.a));
    auto wait_us = door.newcomers.look_at_clock();
    CHECK((wait_us > 0 && wait_us <= 30'000));
    REQUIRE(door.loop->run_once(wait_us));
    CHECK(door.newcomers.look_at_clock() == -1);
    CHECK(closed(silent.b));

    std::vector<Pair> many(Newcomers::kMost + 2);
    for (auto& p : many) door.newcomers.add(std::move(p.a));
    CHECK(closed(many[0].b));
    CHECK(closed(many[1].b));
    CHECK_FALSE(closed(many[2].b));
    CHECK_FALSE(closed(many.back().b));
}

TEST_CASE("a passed socket takes its number along") {
    Pair door(SOCK_SEQPACKET), passed;
    REQUIRE(pass_socket(door.a.get(), passed.a.get(), 1ull << 40));
    REQUIRE(pass_socket(door.a.get(), passed.a.get()));
    auto first = take_socket(door.b.get()), second = take_socket(door.b.get());
    CHECK(first.number == 1ull << 40);
    CHECK(second.number == 0);
    CHECK_FALSE(first.gone);
    REQUIRE(first.socket);
    write(passed.b, View(Bytes(1)));
    char byte;
    CHECK(recv(first.socket.get(), &byte, 1, 0) == 1);
    bool full = false;      // never waits for a receiver that takes nothing
    for (int i = 0; i < 100'000 && !full; ++i) full = !pass_socket(door.a.get(), passed.a.get(), 1);
    CHECK(full);
    while (!take_socket(door.b.get()).gone) door.a.reset();
}
