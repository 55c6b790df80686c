// The island's code, run in this very process: a call site of ours is rewritten as a guest's would be, and another
// thread plays home at the other end of the lane.
#include "loader/blobs.h"
#include "loader/restore.h"
#include "protocol/marshal.h"
#include "remote/call_sites.h"
#include "remote/island_state.h"
#include "remote/lane_rows.h"
#include <cstring>
#include <fcntl.h>
#include <doctest/doctest.h>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

using namespace omx;

namespace {

// long call(long nr, long a, long b, long c), as glibc has it: the result, or -1 where the comparison says "error".
constexpr uint8_t kFunction[] = {
    0x48, 0x89, 0xf8,                         //  0: mov %rdi, %rax
    0x48, 0x89, 0xf7,                         //  3: mov %rsi, %rdi
    0x48, 0x89, 0xd6,                         //  6: mov %rdx, %rsi
    0x48, 0x89, 0xca,                         //  9: mov %rcx, %rdx
    0x0f, 0x05,                               // 12: syscall
    0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff,       // 14: cmp $-4096, %rax
    0x77, 0x01,                               // 20: ja  23
    0xc3,                                     // 22: ret
    0x48, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff, // 23: mov $-1, %rax
    0xc3,
};
constexpr uint64_t kSite = 12;

class Island {
public:
    Island() {
        auto file = island_file();
        REQUIRE(file);
        auto map = [](uint64_t at, size_t bytes, int prot, int flags, int fd) {
            void* p = mmap(reinterpret_cast<void*>(at), bytes, prot, flags | MAP_FIXED_NOREPLACE, fd, 0);
            REQUIRE(p == reinterpret_cast<void*>(at));
        };
        map(OMX_ISLAND_CODE, OMX_ISLAND_CODE_BYTES + OMX_ISLAND_STUBS_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
            MAP_PRIVATE, file->get());
        map(OMX_ISLAND_DATA, OMX_ISLAND_DATA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        map(OMX_ISLAND_NEWS, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        code_ = static_cast<std::byte*>(
            mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        std::memcpy(code_, kFunction, sizeof kFunction);
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, lane_) == 0);
        lane().fd = lane_[0];
        lane().tid = 77;
        lane().somebody_ran_cycles = 10000;
        fill_lane_rows(lane(), false);
        lane().on = 1;
    }
    ~Island() {
        munmap(reinterpret_cast<void*>(OMX_ISLAND_BASE), OMX_ISLAND_BYTES);
        munmap(code_, 4096);
        close(lane_[0]);
        close(lane_[1]);
    }
    void rewrite() {
        GuestAddr site(reinterpret_cast<uint64_t>(code_) + kSite);
        View original(code_ + kSite, OMX_SITE_BYTES);
        auto stub = site_stub(0, site, original);
        std::memcpy(reinterpret_cast<void*>(stub_address(0).value), stub.data(), stub.size());
        auto door = site_door(0);
        std::memcpy(reinterpret_cast<void*>(door_address(0).value), door.data(), door.size());
        auto jump = site_jump(0);
        std::memcpy(code_ + kSite, jump.data(), jump.size());
    }
    long call(long nr, auto... args) {
        auto f = reinterpret_cast<long (*)(long, ...)>(code_);
        return f(nr, args...);
    }
    omx_lane& lane() { return *reinterpret_cast<omx_lane*>(OMX_ISLAND_DATA); }
    omx_news& news() { return *reinterpret_cast<omx_news*>(OMX_ISLAND_NEWS); }
    int home() const { return lane_[1]; }

private:
    std::byte* code_;
    int lane_[2];
};

struct Heard { FrameHeader header{}; CallHead head; Bytes body; };

Heard hear(int socket) {
    Heard h;
    REQUIRE(recv(socket, &h.header, sizeof h.header, MSG_WAITALL) == sizeof h.header);
    h.body.resize(h.header.length);
    REQUIRE(recv(socket, h.body.data(), h.body.size(), MSG_WAITALL) == static_cast<ssize_t>(h.body.size()));
    auto head = peek_call(View(h.body));
    REQUIRE(head);
    h.head = *head;
    return h;
}

struct Back { uint64_t guest; std::string bytes; };

void answer(int socket, uint64_t id, int64_t result, const std::vector<Back>& pieces = {}, uint64_t link_frames = 0) {
    Bytes body;
    Writer w(body);
    w.put(link_frames);
    w.put(result);
    w.put(uint16_t{0});
    w.put(uint16_t{0});
    w.put(static_cast<uint32_t>(pieces.size()));
    for (auto& p : pieces) {
        w.put(p.guest);
        w.put(static_cast<uint32_t>(p.bytes.size()));
        w.raw(p.bytes.data(), p.bytes.size());
    }
    FrameHeader h{static_cast<uint32_t>(body.size()), static_cast<uint16_t>(FrameType::lane_reply), 0, id};
    // In two pieces: a stream may break anywhere.
    REQUIRE(send(socket, &h, sizeof h, MSG_NOSIGNAL) == sizeof h);
    REQUIRE(send(socket, body.data(), body.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(body.size()));
}

// Home's own marshaller has to understand what the island wrote.
class PlainArena : public Arena {
public:
    Piece allocate(size_t bytes, size_t) override {
        kept_.emplace_back(bytes + 1);
        return {kept_.back().data(), DeputyAddr(reinterpret_cast<uint64_t>(kept_.back().data()))};
    }
    Piece allocate_before_guard(size_t bytes) override { return allocate(bytes, 1); }
    DeputyAddr bad_address() const override { return DeputyAddr(8); }
private:
    std::vector<Bytes> kept_;
};

}  // namespace

TEST_CASE("a rewritten site makes its call as before while its lane is off") {
    Island island;
    CHECK(island.call(SYS_getppid) == getppid());
    island.rewrite();
    island.lane().on = 0;
    CHECK(island.call(SYS_getppid) == getppid());
    CHECK(island.call(SYS_close, -1L) == -1);
    CHECK(island.lane().calls == 0);
}

TEST_CASE("calls that no lane carries fall back, whatever they are") {
    Island island;
    island.rewrite();
    CHECK(island.call(SYS_getpid) == getpid());
    CHECK(island.call(100000L) == -1);
    std::string big(OMX_LANE_PAYLOAD + 1, 'x');
    int file = memfd_create("big", 0);
    CHECK(island.call(SYS_pwrite64, static_cast<long>(file), big.data(), static_cast<long>(big.size()), 0L) ==
          static_cast<long>(big.size()));
    close(file);
    CHECK(island.lane().calls == 0);
}

TEST_CASE("a read goes over the lane and brings its bytes back") {
    Island island;
    island.rewrite();
    char buffer[16] = "...............";
    std::thread home([&] {
        auto heard = hear(island.home());
        CHECK(heard.header.type == static_cast<uint16_t>(FrameType::call));
        CHECK(heard.head.nr == SYS_read);
        CHECK(heard.head.tid.value == 77);
        CHECK(heard.head.args[0] == 5);
        CHECK(heard.head.args[2] == 10);
        PlainArena arena;
        auto call = decode_call(View(heard.body), arena);
        REQUIRE(call);
        REQUIRE(call->outs.size() == 1);
        CHECK(call->outs[0].capacity == 10);
        answer(island.home(), heard.header.id, 3, {{heard.head.args[1], "abc"}});
    });
    CHECK(island.call(SYS_read, 5L, buffer, 10L) == 3);
    home.join();
    CHECK(std::string(buffer) == "abc............");
    CHECK(island.lane().calls == 1);
}

TEST_CASE("writes, paths and structures travel as home's marshaller wants them") {
    Island island;
    island.rewrite();
    struct Case { uint32_t nr; std::vector<long> args; size_t in, out; int64_t result; long seen; };
    std::string text = "forty-two bytes of text, or not quite as many";
    std::string path = "/tmp/no-such-file";
    char room[256];
    auto address = [](const void* p) { return reinterpret_cast<long>(p); };
    const std::vector<Case> cases = {
        {SYS_write, {1, address(text.data()), 42}, 42, 0, 42, 42},
        {SYS_pread64, {3, address(room), 100}, 0, 100, 0, 0},
        {SYS_openat, {AT_FDCWD, address(path.c_str()), 0}, path.size() + 1, 0, -2, -1},
        {SYS_access, {address(path.c_str()), 4, 0}, path.size() + 1, 0, -13, -1},
        {SYS_fstat, {4, address(room), 0}, 0, 144, 0, 0},
        {SYS_stat, {address(path.c_str()), address(room), 0}, path.size() + 1, 144, -2, -1},
        {SYS_lseek, {4, 1000000, 0}, 0, 0, 1000000, 1000000},
        {SYS_close, {9, 0, 0}, 0, 0, 0, 0},
        {SYS_read, {3, 0, 0}, 0, 0, 0, 0},
    };
    for (auto& c : cases) {
        INFO("call ", call_name(c.nr));
        std::thread home([&] {
            auto heard = hear(island.home());
            CHECK(heard.head.nr == c.nr);
            PlainArena arena;
            auto call = decode_call(View(heard.body), arena);
            REQUIRE_MESSAGE(call, call.error().what);
            CHECK(call->in_bytes >= c.in);
            CHECK((call->outs.empty() ? 0 : call->outs[0].capacity) == c.out);
            answer(island.home(), heard.header.id, c.result);
        });
        CHECK(island.call(c.nr, c.args[0], c.args[1], c.args[2]) == c.seen);
        home.join();
    }
}

TEST_CASE("big pieces travel from where they are to where they belong") {
    Island island;
    island.rewrite();
    std::string out(3 << 20, 'o'), in(2 << 20, 'i'), expected = in;
    for (size_t i = 0; i < out.size(); i += 997) out[i] = static_cast<char>(i);
    for (size_t i = 0; i < expected.size(); i += 991) expected[i] = static_cast<char>(i);
    auto address = [](const void* p) { return reinterpret_cast<uint64_t>(p); };
    std::thread home([&] {
        auto heard = hear(island.home());
        PlainArena arena;
        auto call = decode_call(View(heard.body), arena);
        REQUIRE(call);
        CHECK(std::memcmp(reinterpret_cast<void*>(call->deputy[1]), out.data(), out.size()) == 0);
        answer(island.home(), heard.header.id, static_cast<int64_t>(out.size()));
        answer(island.home(), hear(island.home()).header.id, 77, {{address(in.data()), expected}});
    });
    CHECK(island.call(SYS_write, 1L, out.data(), static_cast<long>(out.size())) == static_cast<long>(out.size()));
    CHECK(island.call(SYS_read, 0L, in.data(), static_cast<long>(in.size())) == 77);
    home.join();
    CHECK(in == expected);
    CHECK(island.lane().broken == 0);
}

TEST_CASE("an answer that is behind news of the link asks for the worker") {
    Island island;
    island.rewrite();
    island.news().link_frames = 4;
    // The worker isn't here: the kernel knows no such call, and the result stands all the same.
    std::thread home([&] {
        for (uint64_t frames : {4, 5}) {
            auto heard = hear(island.home());
            answer(island.home(), heard.header.id, 11, {}, frames);
        }
    });
    CHECK(island.call(SYS_getuid) == 11);
    CHECK(island.lane().link_frames == 4);
    CHECK(island.call(SYS_getuid) == 11);
    CHECK(island.lane().link_frames == 5);
    home.join();
}

TEST_CASE("a lane that ends or talks nonsense is broken") {
    SUBCASE("ended") {
        Island island;
        island.rewrite();
        shutdown(island.home(), SHUT_RDWR);
        island.call(SYS_getuid);
        CHECK(island.lane().broken == 1);
    }
    SUBCASE("another call's answer") {
        Island island;
        island.rewrite();
        std::thread home([&] { answer(island.home(), hear(island.home()).header.id + 1, 0); });
        island.call(SYS_getuid);
        home.join();
        CHECK(island.lane().broken == 1);
    }
    SUBCASE("a piece longer than its frame") {
        Island island;
        island.rewrite();
        std::thread home([&] {
            auto heard = hear(island.home());
            Bytes body;
            Writer w(body);
            w.put(uint64_t{0}), w.put(int64_t{1}), w.put(uint32_t{0}), w.put(uint32_t{1});
            w.put(uint64_t{4096}), w.put(uint32_t{1000000});
            FrameHeader h{static_cast<uint32_t>(body.size()), static_cast<uint16_t>(FrameType::lane_reply), 0,
                          heard.header.id};
            REQUIRE(send(island.home(), &h, sizeof h, 0) == sizeof h);
            REQUIRE(send(island.home(), body.data(), body.size(), 0) == static_cast<ssize_t>(body.size()));
        });
        island.call(SYS_getuid);
        home.join();
        CHECK(island.lane().broken == 1);
    }
}

TEST_CASE("only glibc's shape of a call is rewritten, and nothing that is jumped into") {
    Bytes code(256, std::byte{0x90});
    auto put = [&](size_t at, std::initializer_list<uint8_t> bytes) {
        for (auto b : bytes) code[at++] = std::byte{b};
    };
    GuestAddr start(0x10000), site(0x10000 + 100);
    put(100, {0x0f, 0x05, 0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff});
    CHECK(can_be_rewritten(View(code), start, site));
    put(104, {0x01});
    CHECK(can_be_rewritten(View(code), start, site));
    CHECK_FALSE(can_be_rewritten(View(code), start, GuestAddr(0x10000 + 99)));
    CHECK_FALSE(can_be_rewritten(View(code), start, GuestAddr(0x10000 + 250)));
    CHECK_FALSE(can_be_rewritten(View(code), start, GuestAddr(0xffff)));
    SUBCASE("jumps to the site itself are welcome") {
        put(50, {0xeb, 48});
        CHECK(can_be_rewritten(View(code), start, site));
    }
    SUBCASE("a short jump behind the system call") {
        put(50, {0x74, 50});
        CHECK_FALSE(can_be_rewritten(View(code), start, site));
    }
    SUBCASE("a near jump from behind") {
        put(200, {0xe9, 0x9d, 0xff, 0xff, 0xff});      // 205 - 99 = 106
        CHECK_FALSE(can_be_rewritten(View(code), start, site));
    }
    SUBCASE("a conditional near jump") {
        put(10, {0x0f, 0x84, 86, 0, 0, 0});
        CHECK_FALSE(can_be_rewritten(View(code), start, site));
    }
    SUBCASE("another comparison") {
        put(103, {0x3c});
        CHECK_FALSE(can_be_rewritten(View(code), start, site));
    }
}

TEST_CASE("a rewritten site traps where its comparison was") {
    for (unsigned i = 0; i < OMX_SITES; i++) CHECK(site_jump(i)[OMX_SITE_TRAP - 1] == std::byte{0xcc});
}

TEST_CASE("where a guest is stopped decides what becomes of its call") {
    omx_island_entries e{};
    std::memcpy(&e, island_code().data(), sizeof e);
    omx_lane lane{};
    lane.site = 3;
    lane.saved_rsp = 0x7000;
    auto at = [](uint64_t rip) { user_regs_struct r{}; r.rip = rip; r.orig_rax = ~uint64_t{0}; return r; };
    uint64_t stub = stub_address(3).value;
    auto move = [&](uint64_t rip, uint32_t phase) { lane.phase = phase; return island_move(at(rip), lane); };

    CHECK(move(0x401000, OMX_PHASE_SENT) == IslandMove::none);
    CHECK(move(stub, OMX_PHASE_ANSWERED) == IslandMove::roll_back);
    CHECK(move(stub + OMX_STUB_SAVED + 5, OMX_PHASE_ANSWERED) == IslandMove::roll_back);
    CHECK(move(e.common + 1, OMX_PHASE_ANSWERED) == IslandMove::roll_back);
    CHECK(move(e.framed, OMX_PHASE_BEFORE) == IslandMove::roll_back);
    CHECK(move(e.sent, OMX_PHASE_SENT) == IslandMove::wait);
    CHECK(move(e.framed + 8, OMX_PHASE_SENT) == IslandMove::wait);
    CHECK(move(e.framed + 8, OMX_PHASE_ANSWERED) == IslandMove::wait);
    CHECK(move(e.tail, OMX_PHASE_ANSWERED) == IslandMove::finish);
    CHECK(move(e.tail_end, OMX_PHASE_ANSWERED) == IslandMove::wait);
    CHECK(move(stub + OMX_STUB_CALLED, OMX_PHASE_ANSWERED) == IslandMove::finish);
    CHECK(move(stub + OMX_STUB_CALLED, OMX_PHASE_BEFORE) == IslandMove::roll_back);
    CHECK(move(stub + OMX_STUB_CALL, OMX_PHASE_ANSWERED) == IslandMove::roll_back);
    CHECK(move(stub + OMX_STUB_DONE, OMX_PHASE_ANSWERED) == IslandMove::none);

    SUBCASE("the instruction behind the sending call knows better than the phase") {
        auto r = at(e.sent);
        r.rax = 100;
        lane.phase = OMX_PHASE_BEFORE;
        CHECK(island_move(r, lane) == IslandMove::wait);
        r.rax = static_cast<uint64_t>(-512), r.orig_rax = SYS_sendto;
        CHECK(island_move(r, lane) == IslandMove::roll_back);
    }
    SUBCASE("before its call it has every register that it had") {
        omx_lane_frame f{.rax = 1, .r9 = 2, .r8 = 3, .r10 = 4, .rdx = 5, .rsi = 6, .rdi = 7, .r15 = 8, .r14 = 9,
                         .r13 = 10, .r12 = 11, .rbp = 12, .rbx = 13};
        auto r = before_call(at(e.framed + 3), lane, &f, 0x1234);
        CHECK(r.rip == 0x1234);
        CHECK(r.rsp == 0x7000);
        CHECK(r.rax == 1);
        CHECK(r.rbx == 13);
        CHECK(r.rdi == 7);
    }
    SUBCASE("a stub that has not begun has not touched the stack pointer") {
        auto r = at(stub + 8);
        r.rsp = 0x9000, r.rax = 5;
        auto to = before_call(r, lane, nullptr, 0x1234);
        CHECK(to.rsp == 0x9000);
        CHECK(to.rax == 5);
    }
    SUBCASE("an interrupted call is the kernel's to restart") {
        omx_lane_frame f{.rax = SYS_read, .r9 = 0, .r8 = 0, .r10 = 0, .rdx = 5, .rsi = 6, .rdi = 7, .r15 = 8, .r14 = 9,
                         .r13 = 10, .r12 = 11, .rbp = 12, .rbx = 13};
        lane.restart = 512;
        auto r = interrupted_call(at(e.end - 4), lane, f);
        CHECK(r.rip == stub + OMX_STUB_DONE);
        CHECK(r.orig_rax == SYS_read);
        CHECK(static_cast<int64_t>(r.rax) == -512);
    }
}
