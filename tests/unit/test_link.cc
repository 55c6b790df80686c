#include "protocol/link.h"
#include "protocol/receive_buffer.h"
#include <doctest/doctest.h>
#include <memory>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <random>
#include <signal.h>
#include <sys/socket.h>

using namespace omx;
using Priority = Link::Priority;

namespace {

constexpr int kPatience_ms = 20'000;

View view(std::string_view s) { return std::as_bytes(std::span(s)); }
std::string text(View v) { return {reinterpret_cast<const char*>(v.data()), v.size()}; }

Bytes pattern(size_t size, unsigned seed) {
    Bytes bytes(size);
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>((i * 2654435761u >> 7) + seed);
    return bytes;
}

std::pair<UniqueFd, UniqueFd> pair_of_sockets() {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::unique_ptr<Loop> loop_of(LoopKind kind) {
    auto loop = Loop::make(kind);
    if (!loop) MESSAGE("skipped: " << loop.error().what);
    REQUIRE((loop || kind != LoopKind::epoll));
    return loop ? std::move(*loop) : nullptr;
}

// Two ends of a link in one process.
struct Ends {
    std::unique_ptr<Loop> loop;
    std::unique_ptr<Link> a, b;
    explicit Ends(LoopKind kind = LoopKind::epoll) : loop(loop_of(kind)) {
        if (!loop) return;
        auto [x, y] = pair_of_sockets();
        a = std::make_unique<Link>(plain_channel(std::move(x)), *loop);
        b = std::make_unique<Link>(plain_channel(std::move(y)), *loop);
    }
};

// A link at one end, a bare socket at the other.
struct LinkAndSocket {
    std::unique_ptr<Loop> loop = loop_of(LoopKind::epoll);
    std::unique_ptr<Link> link;
    UniqueFd socket;
    LinkAndSocket() {
        auto [x, y] = pair_of_sockets();
        link = std::make_unique<Link>(plain_channel(std::move(x)), *loop);
        socket = std::move(y);
    }
    void write(const void* data, size_t size) {
        REQUIRE(::send(socket.get(), data, size, 0) == static_cast<ssize_t>(size));
    }
    void write(const FrameHeader& header, std::string_view body = "") {
        write(&header, sizeof header);
        if (!body.empty()) write(body.data(), body.size());
    }
};

FrameHeader header(uint32_t length, FrameType type = FrameType::ping, uint16_t flags = 0, uint64_t id = 0) {
    return {length, static_cast<uint16_t>(type), flags, id};
}

// A channel whose socket takes as much as the test says.
struct SlowChannel : Channel {
    UniqueFd socket;
    size_t* budget;
    std::string* taken;
    int* calls;
    SlowChannel(UniqueFd s, size_t* b, std::string* t, int* c) : socket(std::move(s)), budget(b), taken(t), calls(c) {}
    ssize_t send(const iovec* pieces, int count) override {
        ++*calls;
        ssize_t moved = 0;
        for (int i = 0; i < count; ++i) {
            auto now = std::min(*budget, pieces[i].iov_len);
            taken->append(static_cast<const char*>(pieces[i].iov_base), now);
            *budget -= now;
            moved += static_cast<ssize_t>(now);
        }
        return moved > 0 ? moved : -EAGAIN;
    }
    ssize_t receive(void*, size_t) override { return -EAGAIN; }
    int fd() const override { return socket.get(); }
};

struct SlowLink {
    std::unique_ptr<Loop> loop = loop_of(LoopKind::epoll);
    size_t budget = 0;
    std::string taken;
    int calls = 0;
    UniqueFd other;
    std::unique_ptr<Link> link;
    SlowLink() {
        auto [x, y] = pair_of_sockets();
        other = std::move(y);
        link = std::make_unique<Link>(std::make_unique<SlowChannel>(std::move(x), &budget, &taken, &calls), *loop);
    }
    void let(size_t bytes) {
        budget = bytes;
        REQUIRE(loop->run_once(0));
    }
    // Bodies of the frames that have left, in order.
    std::vector<std::string> frames() const {
        std::vector<std::string> out;
        for (size_t at = 0; at + sizeof(FrameHeader) <= taken.size();) {
            FrameHeader h;
            std::memcpy(&h, taken.data() + at, sizeof h);
            at += sizeof h;
            if (at + h.length > taken.size()) break;
            out.push_back(taken.substr(at, h.length));
            at += h.length;
        }
        return out;
    }
};

}  // namespace

TEST_CASE("link: frames arrive whole and in order, several by one system call") {
    Ends ends;
    ends.a->send(FrameType::call, 1, view("first"));
    ends.a->send(FrameType::reply, 2, view(""));
    ends.a->send(FrameType::ping, ~0ull, view("th"), Priority::urgent, view("ird"));
    CHECK_FALSE(ends.b->has_buffered_frame());
    auto f = ends.b->receive();
    REQUIRE(f);
    REQUIRE(*f);
    CHECK((*f)->type == FrameType::call);
    CHECK((*f)->id == 1);
    CHECK(text((*f)->body) == "first");
    CHECK(ends.b->has_buffered_frame());
    f = ends.b->receive();
    CHECK((*f)->type == FrameType::reply);
    CHECK((*f)->body.empty());
    f = ends.b->receive();
    CHECK((*f)->id == ~0ull);
    CHECK(text((*f)->body) == "third");
    CHECK_FALSE(ends.b->has_buffered_frame());
    f = ends.b->receive();
    REQUIRE(f);
    CHECK_FALSE(*f);

    auto& out = ends.a->counters();
    auto& in = ends.b->counters();
    CHECK(out.frames_out == 3);
    CHECK(out.sends == 3);
    CHECK(out.bytes_out == 3 * 16 + 10);
    CHECK(in.frames_in == 3);
    CHECK(in.receives == 1);
    CHECK(in.bytes_in == out.bytes_out);
}

TEST_CASE("link: messages encode themselves") {
    Ends ends;
    ends.a->send(FrameType::kill, 0, KillFrame{HomePid(12)});
    auto f = ends.b->receive_wait(kPatience_ms);
    REQUIRE(f);
    CHECK(f->type == FrameType::kill);
    CHECK(KillFrame::decode(f->body)->pid == HomePid(12));
}

TEST_CASE("link: a message with a tail leaves as one that was encoded whole") {
    SlowLink slow;
    slow.budget = 1000;
    auto data = pattern(50, 1);
    FileData message{.handle = 1, .offset = 2, .last = true, .data = data};
    slow.link->send(FrameType::file_data, 9, message, Priority::bulk);
    CHECK(slow.calls == 1);
    auto whole = encode_frame(message);
    CHECK(slow.frames() == std::vector<std::string>{text(whole)});
}

TEST_CASE("link: a small frame with nothing queued is one system call") {
    SlowLink slow;
    slow.budget = 1000;
    slow.link->send(FrameType::ping, 1, view("abc"), Priority::urgent, view("def"));
    CHECK(slow.calls == 1);
    CHECK(slow.taken.size() == 22);
    CHECK(slow.link->queued_bytes() == 0);
    slow.let(1000);
    CHECK(slow.calls == 1);
}

TEST_CASE("link: urgent frames overtake bulk ones, but only between frames") {
    SlowLink slow;
    slow.budget = 20;      // 4 bytes of the body of b1
    slow.link->send(FrameType::file_data, 1, view("b1-body"), Priority::bulk);
    slow.link->send(FrameType::file_data, 2, view("b2"), Priority::bulk);
    slow.link->send(FrameType::reply, 3, view("u1"));
    slow.link->send(FrameType::file_data, 4, view("b3"), Priority::bulk);
    slow.link->send(FrameType::reply, 5, view("u2"));
    CHECK(slow.link->queued_bytes() == 3 + 4 * 18);
    slow.let(3 + 18);
    slow.link->send(FrameType::reply, 6, view("u3"));
    slow.let(18 + 10);      // into u3's header
    slow.link->send(FrameType::reply, 7, view("u4"));
    slow.let(1000);
    CHECK(slow.frames() == std::vector<std::string>{"b1-body", "u1", "u2", "u3", "u4", "b2", "b3"});
    CHECK(slow.link->queued_bytes() == 0);
    int calls = slow.calls;
    slow.let(1000);
    CHECK(slow.calls == calls);      // not watched any more
}

TEST_CASE("link: any division of the stream gives the same frames") {
    SlowLink slow;
    std::minstd_rand random(4711);
    std::vector<std::string> urgent, bulk, got_urgent, got_bulk;
    for (int i = 0; i < 500; ++i) {
        bool is_urgent = random() % 2;
        auto body = std::string(is_urgent ? "u" : "b") + std::to_string(i) + std::string(random() % 300, 'x');
        slow.budget = random() % 100;
        slow.link->send(FrameType::ping, 0, view(body), is_urgent ? Priority::urgent : Priority::bulk);
        (is_urgent ? urgent : bulk).push_back(body);
        if (random() % 4 == 0) slow.let(random() % 1000);
    }
    while (slow.link->queued_bytes() > 0) slow.let(1 + random() % 1000);
    for (auto& body : slow.frames()) (body[0] == 'u' ? got_urgent : got_bulk).push_back(body);
    CHECK(got_urgent == urgent);
    CHECK(got_bulk == bulk);
    CHECK(slow.link->counters().bytes_out == slow.taken.size());
}

// Both ends of a TCP connection over loopback.
static std::pair<UniqueFd, UniqueFd> pair_over_tcp() {
    UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    UniqueFd from(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in name{};
    socklen_t size = sizeof name;
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto address = reinterpret_cast<sockaddr*>(&name);
    REQUIRE(bind(listener.get(), address, size) == 0);
    REQUIRE(listen(listener.get(), 1) == 0);
    REQUIRE(getsockname(listener.get(), address, &size) == 0);
    REQUIRE(connect(from.get(), address, size) == 0);
    UniqueFd to(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(to);
    return {std::move(from), std::move(to)};
}
static std::string congestion_control(int socket) {
    char name[16] = {};
    socklen_t size = sizeof name - 1;
    REQUIRE(getsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name, &size) == 0);
    return name;
}
static bool choose(int socket, std::string_view control) {
    return setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, control.data(), control.size()) == 0;
}

TEST_CASE("link: only a near peer is near, and only what paces is replaced for it") {
    auto [a, b] = pair_over_tcp();
    CHECK(peer_is_near(a.get()));
    CHECK_FALSE(peer_is_near(pair_of_sockets().first.get()));
    UniqueFd unconnected(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK_FALSE(peer_is_near(unconnected.get()));
    REQUIRE(choose(a.get(), "reno"));
    send_unpaced(a.get());
    CHECK(congestion_control(a.get()) == "reno");
    if (choose(b.get(), "cubic")) {
        send_unpaced(b.get());
        CHECK(congestion_control(b.get()) == "cubic");
    }
    if (choose(b.get(), "bbr")) {
        auto channel = plain_channel(std::move(b));
        CHECK(congestion_control(channel->fd()) == "reno");
    }
}

TEST_CASE("link: flush waits until the kernel has everything") {
    LinkAndSocket ends;
    auto big = pattern(4u << 20, 1);
    ends.link->send(FrameType::file_data, 1, big, Priority::bulk);
    CHECK(ends.link->queued_bytes() > 0);
    auto late = ends.link->flush(1);
    REQUIRE_FALSE(late);
    CHECK(late.error().code == ETIMEDOUT);
    ends.socket.reset();
    auto gone = ends.link->flush(kPatience_ms);
    REQUIRE_FALSE(gone);
    CHECK(gone.error().code == ECONNRESET);
}

TEST_CASE("link: the greatest frame passes, with either loop") {
    LoopKind kind = LoopKind::epoll;
    SUBCASE("epoll") { kind = LoopKind::epoll; }
    SUBCASE("io_uring") { kind = LoopKind::io_uring; }
    Ends ends(kind);
    if (!ends.loop) return;
    auto big = pattern(kMaxFrameBytes, 3);
    int frames = 0;
    ends.loop->watch_readable(ends.b->fd(), [&] {
        do {
            auto f = ends.b->receive();
            REQUIRE(f);
            if (!*f) return;
            ++frames;
            if ((*f)->id == 1) CHECK(std::memcmp((*f)->body.data(), big.data(), big.size()) == 0);
            if ((*f)->id == 2) CHECK(text((*f)->body) == "small");
        } while (ends.b->has_buffered_frame());
    });
    ends.a->send(FrameType::file_data, 1, big, Priority::bulk);
    ends.a->send(FrameType::ping, 2, view("small"));
    while (frames < 2) REQUIRE(ends.loop->run_once(-1));
    CHECK(ends.a->queued_bytes() == 0);
    CHECK(ends.b->counters().bytes_in == kMaxFrameBytes + 2 * 16 + 5);
}

TEST_CASE("link: the end comes after all whole frames, and stays") {
    LinkAndSocket ends;
    ends.write(header(3), "one");
    ends.write(header(3), "two");
    SUBCASE("between frames") {}
    SUBCASE("within a header") { ends.write("xxx", 3); }
    SUBCASE("within a body") { ends.write(header(100), "only this"); }
    ends.socket.reset();
    CHECK(text((*ends.link->receive())->body) == "one");
    CHECK(text((*ends.link->receive())->body) == "two");
    for (int i = 0; i < 2; ++i) {
        auto f = ends.link->receive();
        REQUIRE_FALSE(f);
        CHECK(f.error().code == ECONNRESET);
        CHECK(f.error().what.find("the link is gone") == 0);
    }
}

TEST_CASE("link: sending to nobody is told by receive, without SIGPIPE") {
    LinkAndSocket ends;
    struct sigaction plain{}, before{};
    plain.sa_handler = SIG_DFL;
    sigaction(SIGPIPE, &plain, &before);
    ends.write(header(5), "adieu");
    ends.socket.reset();
    for (int i = 0; i < 3; ++i) ends.link->send(FrameType::ping, 0, view("anybody?"));
    sigaction(SIGPIPE, &before, nullptr);
    CHECK(ends.link->queued_bytes() == 0);
    CHECK(text((*ends.link->receive())->body) == "adieu");
    auto f = ends.link->receive();
    REQUIRE_FALSE(f);
    CHECK(f.error().code == ECONNRESET);
}

TEST_CASE("link: nonsense is refused before anything is allocated for it") {
    LinkAndSocket ends;
    ends.write(header(2), "ok");
    std::string expected;
    SUBCASE("too long") {
        ends.write(header(kMaxFrameBytes + 1));
        expected = "a frame of 67108865 bytes";
    }
    SUBCASE("flags") {
        ends.write(header(0, FrameType::ping, 0x8000));
        expected = "flags 0x8000";
    }
    SUBCASE("unknown type") {
        ends.write(header(0, static_cast<FrameType>(9)));
        expected = "type 9";
    }
    CHECK(text((*ends.link->receive())->body) == "ok");
    CHECK(ends.link->has_buffered_frame());      // the refusal needs no system call either
    for (int i = 0; i < 2; ++i) {
        auto f = ends.link->receive();
        REQUIRE_FALSE(f);
        CHECK(f.error().code == EPROTO);
        CHECK(f.error().what.find(expected) != std::string::npos);
    }
    CHECK_FALSE(ends.link->has_buffered_frame());
}

TEST_CASE("link: bytes that come one by one") {
    LinkAndSocket ends;
    auto h = header(2, FrameType::pong, 0, 77);
    Bytes bytes = encode_frame(FileDone{1});      // any eight bytes
    h.length = static_cast<uint32_t>(bytes.size());
    Bytes stream;
    Writer(stream).put(h);
    stream.insert(stream.end(), bytes.begin(), bytes.end());
    for (size_t i = 0; i < stream.size(); ++i) {
        auto f = ends.link->receive();
        REQUIRE(f);
        CHECK_FALSE(*f);
        ends.write(&stream[i], 1);
    }
    auto f = ends.link->receive();
    REQUIRE(f);
    REQUIRE(*f);
    CHECK((*f)->id == 77);
    CHECK(Bytes((*f)->body.begin(), (*f)->body.end()) == bytes);
}

TEST_CASE("link: waiting for an answer ends in time") {
    Ends ends;
    auto late = ends.b->receive_wait(1);
    REQUIRE_FALSE(late);
    CHECK(late.error().code == ETIMEDOUT);
    ends.a->send(FrameType::ping, 5, view("now"));
    auto f = ends.b->receive_wait(kPatience_ms);
    REQUIRE(f);
    CHECK(f->id == 5);
}

TEST_CASE("link: a link that goes while its socket is full leaves the loop alone") {
    LinkAndSocket ends;
    ends.link->send(FrameType::file_data, 1, pattern(4u << 20, 1), Priority::bulk);
    CHECK(ends.link->queued_bytes() > 0);
    ends.link.reset();
    auto ran = ends.loop->run_once(0);
    REQUIRE(ran);
    CHECK_FALSE(*ran);
}

TEST_CASE("receive buffer: grows for a big frame and shrinks again") {
    ReceiveBuffer buffer;
    auto feed = [&](uint32_t length) {
        auto h = header(length);
        size_t total = sizeof h + length, done = 0;
        while (done < total) {
            auto room = buffer.room(total);
            REQUIRE_FALSE(room.empty());
            auto now = std::min(room.size(), total - done);
            if (done == 0) std::memcpy(room.data(), &h, sizeof h);
            buffer.arrived(now);
            done += now;
        }
        auto peeked = buffer.peek();
        REQUIRE(peeked);
        auto body = buffer.take(*peeked);
        REQUIRE(body);
        CHECK(body->size() == length);
    };
    feed(100);
    CHECK(buffer.capacity() == ReceiveBuffer::kBaseBytes);
    feed(kMaxFrameBytes);
    CHECK(buffer.capacity() >= kMaxFrameBytes);
    feed(100);
    CHECK(buffer.capacity() == ReceiveBuffer::kBaseBytes);      // far too big to keep
    feed(1u << 20);
    feed(100);
    CHECK(buffer.capacity() > 1u << 20);      // more of that size may come
    for (unsigned i = 0; i < ReceiveBuffer::kSmallFramesToShrink; ++i) feed(100);
    CHECK(buffer.capacity() == ReceiveBuffer::kBaseBytes);
}
