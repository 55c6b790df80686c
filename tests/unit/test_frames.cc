// Every frame survives its way, and every broken one is refused with a reason.
#include "protocol/frames.h"
#include <doctest/doctest.h>

using namespace omx;

namespace {

View view(std::string_view s) { return std::as_bytes(std::span(s)); }

// What holds for each frame: no shorter and no longer body passes for it.
template <class F> F round_trip(const F& frame, Bytes& body) {
    body = encode_frame(frame);
    for (size_t length = 0; length < body.size(); ++length) {
        auto cut = F::decode(View(body).first(length));
        REQUIRE_FALSE(cut);
        CHECK(cut.error().what.find("malformed") == 0);
        CHECK(cut.error().code == EPROTO);
    }
    auto longer = body;
    longer.push_back(std::byte{0});
    auto refused = F::decode(longer);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().what.find("1 bytes too many") != std::string::npos);
    auto decoded = F::decode(body);
    REQUIRE(decoded);
    return std::move(*decoded);
}

// Refused once `value` stands at `offset`.
template <class F, class T> std::string refusal(const F& frame, size_t offset, T value) {
    auto body = encode_frame(frame);
    REQUIRE(offset + sizeof value <= body.size());
    std::memcpy(body.data() + offset, &value, sizeof value);
    auto decoded = F::decode(body);
    return decoded ? "accepted" : decoded.error().what;
}

Hello some_hello() {
    Hello h;
    h.uid = 1000;
    h.pid_max = 4194304;
    h.job = 4711;
    h.cpus = 8;
    h.memory_nodes = 2;
    for (size_t i = 0; i < h.cpu.size(); ++i) h.cpu[i] = static_cast<uint32_t>(i * 0x01010101);
    h.host = "home";
    h.kernel = "6.1.0";
    h.command = "make -j 8";
    h.boot_id = "01234567-89ab-cdef-0123-456789abcdef";
    h.asked = 5'000'000'000;
    return h;
}

}  // namespace

TEST_CASE("hello carries what each side must know of the other") {
    Bytes body;
    auto h = round_trip(some_hello(), body);
    CHECK(h.uid == 1000);
    CHECK(h.pid_max == 4194304);
    CHECK(h.job == 4711);
    CHECK(h.cpus == 8);
    CHECK(h.memory_nodes == 2);
    CHECK(h.cpu == some_hello().cpu);
    CHECK(h.host == "home");
    CHECK(h.kernel == "6.1.0");
    CHECK(h.command == "make -j 8");
    CHECK(h.boot_id == some_hello().boot_id);
    CHECK(h.asked == 5'000'000'000);
}

TEST_CASE("home's clocks travel as they are, and none that a sum could overflow") {
    Bytes body;
    CHECK(round_trip(ClockAsk{-3}, body).asked == -3);
    ClockFrame clocks{.asked = 1, .monotonic = 2, .realtime = int64_t{1} << 61, .tai = 4, .boottime = -5, .raw = 6};
    auto c = round_trip(clocks, body);
    CHECK(body.size() == 48);
    CHECK(c.asked == 1);
    CHECK(c.monotonic == 2);
    CHECK(c.realtime == int64_t{1} << 61);
    CHECK(c.tai == 4);
    CHECK(c.boottime == -5);
    CHECK(c.raw == 6);
    CHECK(refusal(clocks, 8, INT64_MAX).ends_with("monotonic is no time"));
    CHECK(refusal(clocks, 16, INT64_MIN).ends_with("realtime is no time"));
    CHECK(refusal(HomecomingFrame{HomePid(9), 0, {}}, 4, INT64_MAX).ends_with("monotonic is no time"));
}

TEST_CASE("hello of another version is told apart from a broken one") {
    auto h = some_hello();
    h.version = kProtocolVersion + 1;
    auto body = encode_frame(h);
    body.resize(4);      // nothing but the version may be looked at
    auto decoded = Hello::decode(body);
    REQUIRE(decoded);
    CHECK(decoded->version == kProtocolVersion + 1);
    CHECK(decoded->uid == 0);
}

TEST_CASE("encoders cut texts at the bound that decoders insist on") {
    auto h = some_hello();
    h.host.assign(1000, 'h');
    h.command.assign(1u << 20, 'c');
    auto decoded = Hello::decode(encode_frame(h));
    REQUIRE(decoded);
    CHECK(decoded->host.size() == 256);
    CHECK(decoded->command.size() == 131072);

    Bytes body;
    Writer(body).text(std::string(4097, 'r'));
    auto refused = Refuse::decode(body);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().what == "malformed refuse frame from the peer: reason is too long");
}

TEST_CASE("texts of the peer can't steer a terminal") {
    auto f = Refuse::decode(encode_frame(Refuse{"a\x1b[2J\nb\x7f \xc2\x9b gr\xc3\xbc\xc3\x9f"}));
    REQUIRE(f);
    CHECK(f->reason == "a?[2J?b? ?? gr\xc3\xbc\xc3\x9f");
}

TEST_CASE("life frames keep their numbers") {
    Bytes body;
    auto image = round_trip(ImageFrame{HomePid(7), HomeTid(9), true, view("image")}, body);
    CHECK(image.pid == HomePid(7));
    CHECK(image.tid == HomeTid(9));
    CHECK(image.is_exec);
    CHECK(image.image.data() == body.data() + 13);      // a view into the body, no copy
    CHECK(image.image.size() == 5);

    CHECK(round_trip(ImageDone{HomePid(7), "no room"}, body).error == "no room");
    CHECK(round_trip(KillFrame{HomePid(8)}, body).pid == HomePid(8));
    auto freeze = round_trip(FreezeFrame{HomePid(8), true}, body);
    CHECK(freeze.frozen);
    Scheduling scheduling{.policy = 1, .nice = -3, .priority = 4, .reset_on_fork = true, .cpus = CpuSet::below(70)};
    auto told = round_trip(SchedulingFrame{HomeTid(8), scheduling}, body);
    CHECK(told.tid == HomeTid(8));
    CHECK(told.scheduling == scheduling);
    CHECK(refusal(told, 8, int32_t{20}) == "malformed scheduling frame from the peer: scheduling is none of a kernel's");
    auto mask = round_trip(MaskFrame{HomeTid(8), 0x8000000000000001}, body);
    CHECK(mask.mask == 0x8000000000000001);

    SignalFrame run_out{HomePid(9), HomeTid(8)};
    run_out.info.si_signo = SIGUSR1;
    run_out.info.si_code = SI_TIMER;
    run_out.info.si_timerid = 3;
    CHECK(round_trip(run_out, body).info.si_timerid == 3);

    auto come = round_trip(ComeFrame{HomePid(9), "it is asked for"}, body);
    CHECK(come.pid == HomePid(9));
    CHECK(come.reason == "it is asked for");
    auto ask = round_trip(AskFrame{.wish = Wish::detach, .pid = HomePid(9)}, body);
    CHECK(ask.wish == Wish::detach);
    CHECK(ask.pid == HomePid(9));
    auto placed = round_trip(PlacedFrame{HomePid(9), "/bin/sh", "home", "for a reason", 7, 8}, body);
    CHECK(placed.program == "/bin/sh");
    CHECK(placed.place == "home");
    CHECK(placed.why == "for a reason");
    CHECK(placed.calls == 7);
    CHECK(placed.since_ms == 8);
    auto moved = round_trip(MovedFrame{MovedFrame::Step::failed, 4096, 17, "it has ended"}, body);
    CHECK(moved.step == MovedFrame::Step::failed);
    CHECK(moved.bytes == 4096);
    CHECK(moved.still_us == 17);
    CHECK(moved.text == "it has ended");
    auto leave = round_trip(LeaveFrame{HomePid(9), "for a reason", "shmat"}, body);
    CHECK(leave.pid == HomePid(9));
    CHECK(leave.reason == "for a reason");
    CHECK(leave.call == "shmat");
    Bytes some{std::byte{1}, std::byte{2}};
    auto homecoming = round_trip(HomecomingFrame{HomePid(9), 77, View(some)}, body);
    CHECK(std::ranges::equal(homecoming.image, some));
    CHECK(homecoming.monotonic == 77);
    auto ready = round_trip(ReadyFrame{HomePid(9), {3, 1}}, body);
    CHECK(ready.whole == std::vector<uint32_t>{3, 1});
    auto pages = round_trip(PagesFrame{.pid = HomePid(9), .address = 4096, .last = true, .data = View(some)}, body);
    CHECK(pages.address == 4096);
    CHECK(pages.last);
    CHECK(std::ranges::equal(pages.data, some));
    auto shared = round_trip(SharedFrame{7, 5, 4096, {{10, View(some)}, {12, View(some)}}}, body);
    CHECK(shared.bytes == 4096);
    REQUIRE(shared.changes.size() == 2);
    CHECK(shared.changes[1].offset == 12);
    CHECK(std::ranges::equal(shared.changes[1].data, some));
    CHECK(round_trip(SharedDone{7, 3}, body).grant == 3);
    CHECK(round_trip(SharedOver{7, "for a reason"}, body).reason == "for a reason");
    auto undo = round_trip(UndoFrame{HomePid(9), HomeTid(8)}, body);
    CHECK(undo.pid == HomePid(9));
    CHECK(undo.caller == HomeTid(8));

    auto lost = round_trip(LostFrame{HomePid(3), "io_uring_setup: not yet", "io_uring_setup"}, body);
    CHECK(lost.reason == "io_uring_setup: not yet");
    CHECK(lost.call == "io_uring_setup");

    auto gone = round_trip(GoneFrame{HomePid(3), 0x0100, 1, 2, 3, ~0ull}, body);
    CHECK(gone.wait_status == 0x0100);
    CHECK(gone.user_us == 1);
    CHECK(gone.system_us == 2);
    CHECK(gone.max_rss_kib == 3);
    CHECK(gone.wall_us == ~0ull);
}

TEST_CASE("a signal keeps its siginfo whole") {
    SignalFrame f{HomePid(5), HomeTid(0)};
    f.info.si_signo = SIGCHLD;
    f.info.si_code = CLD_EXITED;
    f.info.si_pid = 77;
    f.info.si_status = 3;
    Bytes body;
    auto decoded = round_trip(f, body);
    CHECK(std::memcmp(&decoded.info, &f.info, sizeof f.info) == 0);
    CHECK(refusal(f, 0, 0).find("pid is not positive") != std::string::npos);
    CHECK(refusal(f, 4, -1).find("tid is negative") != std::string::npos);
    CHECK(refusal(f, 8, 0).find("si_signo is no signal") != std::string::npos);
    CHECK(refusal(f, 8, 65).find("si_signo is no signal") != std::string::npos);
}

TEST_CASE("numbers that mean everybody to kill(2) are refused") {
    for (int pid : {0, -1, -1000}) {
        CHECK(refusal(KillFrame{HomePid(1)}, 0, pid).find("pid is not positive") != std::string::npos);
        CHECK(refusal(MaskFrame{HomeTid(1), 0}, 0, pid).find("tid is not positive") != std::string::npos);
        CHECK(refusal(ImageFrame{HomePid(1), HomeTid(1), false, {}}, 4, pid).find("tid") != std::string::npos);
    }
}

TEST_CASE("a guest can only be gone in a way in which processes end") {
    GoneFrame f{HomePid(3)};
    for (int status : {0, 0x100, 0xff00, 9, 0x8b, 64}) CHECK(refusal(f, 4, status) == "accepted");
    for (int status : {0x137f, 0xffff, 0x10000, -1, 0x7f})
        CHECK(refusal(f, 4, status).find("wait_status is not that of an ended process") != std::string::npos);
}

TEST_CASE("flags are 0 or 1") {
    CHECK(refusal(FreezeFrame{HomePid(1), true}, 4, uint8_t{2}).find("frozen is neither 0 nor 1") != std::string::npos);
}

TEST_CASE("file frames stay within what a file can be") {
    Bytes body;
    auto get = round_trip(FileGet{1, 2, 3}, body);
    CHECK(get.handle == 1);
    CHECK(get.offset == 2);
    CHECK(get.bytes == 3);
    CHECK(refusal(FileGet{1, 2, 3}, 8, ~uint64_t{0}).find("beyond any file") != std::string::npos);
    CHECK(refusal(FileGet{1, 2, 3}, 16, uint64_t{INT64_MAX}).find("beyond any file") != std::string::npos);

    auto data = round_trip(FileData{1, 4096, 5, true, view("bytes")}, body);
    CHECK(data.offset == 4096);
    CHECK(data.error == 5);
    CHECK(data.last);
    CHECK(data.data.size() == 5);
    CHECK(refusal(FileData{}, 16, -1).find("error is no errno") != std::string::npos);
    CHECK(refusal(FileData{}, 16, 4096).find("error is no errno") != std::string::npos);

    CHECK(round_trip(FileDone{~0ull}, body).handle == ~0ull);
}

TEST_CASE("a file key is the same after its way") {
    FileKey key{.handle = 1, .device = 2, .inode = 3, .bytes = 4, .mtime_ns = -5, .ctime_ns = 6, .cacheable = true};
    Bytes body = encode_frame(key);
    Reader in(body);
    auto read = FileKey::read(in);
    CHECK(in.finished());
    CHECK(read.handle == 1);
    CHECK(read.same_content(key));
    CHECK(read.cacheable);
    body.back() = std::byte{2};
    Reader broken(body);
    FileKey::read(broken);
    CHECK_FALSE(broken.ok());
}

TEST_CASE("lane frames keep token and number") {
    LaneToken token{1, 2, 3};
    token.back() = 0xff;
    Bytes body;
    auto ask = round_trip(LaneAsk{HomePid(7), ~0ull, token}, body);
    CHECK(ask.pid == HomePid(7));
    CHECK(ask.lane == ~0ull);
    CHECK(ask.token == token);
    CHECK(refusal(ask, 0, 0).find("pid is not positive") != std::string::npos);

    auto hello = round_trip(LaneHello{.token = token, .lane = 5}, body);
    CHECK(body.size() == LaneHello::kBytes);
    CHECK(hello.version == kProtocolVersion);
    CHECK(hello.token == token);
    CHECK(hello.lane == 5);
    hello.version = 1000;
    auto other = LaneHello::decode(View(encode_frame(hello)).first(4));
    REQUIRE(other);
    CHECK(other->version == 1000);
    CHECK(other->lane == 0);
}

TEST_CASE("each frame type has a name and no other number has") {
    int names = 0;
    for (unsigned type = 0; type <= 0xffff; ++type) names += known(static_cast<FrameType>(type));
    CHECK(names == 40);
    CHECK(name(FrameType::file_data) == std::string("file_data"));
    CHECK(name(static_cast<FrameType>(999)) == std::string("unknown"));
}
