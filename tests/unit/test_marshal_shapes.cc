// Messages with ancillary data, lengths behind pointers, structs that say their own size or hold pointers.
#include "tests/unit/call_path.h"
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>

using namespace omx;
using namespace omx::test;

namespace {

constexpr uint64_t kUnmapped = 0x10000;

struct Sockets {
    int ends[2];
    explicit Sockets(int type = SOCK_DGRAM) { REQUIRE(socketpair(AF_UNIX, type, 0, ends) == 0); }
    ~Sockets() { close(ends[0]); close(ends[1]); }
};

sockaddr_in loopback(uint16_t port = 0) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

}  // namespace

TEST_CASE("names of sockets are as long as their length says") {
    int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
    sockaddr_in name = loopback();
    CHECK(forwarded(SYS_bind, a, &name, sizeof name) == 0);
    CHECK(forwarded(SYS_bind, b, &name, 4) == -EINVAL);
    CHECK(forwarded(SYS_bind, b, &name, -1) == -EINVAL);
    CHECK(forwarded(SYS_bind, b, kUnmapped, sizeof name) == -EFAULT);
    for (int claimed : {0, 2, 8, 16, 100, 128, 5000}) {
        CAPTURE(claimed);
        Guarded got(128), want(128), got_length(4), want_length(4);
        got_length.as<int>() = want_length.as<int>() = claimed;
        CHECK(forwarded(SYS_getsockname, a, got.data(), got_length.data())
              == native(SYS_getsockname, a, want.data(), want_length.data()));
        CHECK(got.text() == want.text());
        CHECK(got_length.as<int>() == want_length.as<int>());
    }
    Guarded short_name(8), length(4);
    length.as<int>() = 16;
    CHECK(forwarded(SYS_getsockname, a, short_name.data(), length.data()) == -EFAULT);
    length.as<int>() = -1;
    CHECK(forwarded(SYS_getsockname, a, short_name.data(), length.data()) == -EINVAL);
    CHECK(forwarded(SYS_getsockname, a, short_name.data(), kUnmapped) == -EFAULT);
    CHECK(forwarded(SYS_getsockname, a, nullptr, length.data()) == native(SYS_getsockname, a, nullptr, length.data()));

    socklen_t size = sizeof name;
    getsockname(a, reinterpret_cast<sockaddr*>(&name), &size);
    CHECK(forwarded(SYS_sendto, b, "ping", 4, 0, &name, sizeof name) == 4);
    Guarded data(100), from(16);
    length.as<int>() = 16;
    CHECK(forwarded(SYS_recvfrom, a, data.data(), 100, 0, from.data(), length.data()) == 4);
    CHECK(data.text().substr(0, 4) == "ping");
    CHECK(from.as<sockaddr_in>().sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    // More than the buffer takes: the result tells, the buffer keeps its bounds.
    CHECK(forwarded(SYS_sendto, b, "longer", 6, 0, &name, sizeof name) == 6);
    CHECK(forwarded(SYS_recvfrom, a, data.end() - 3, 3, MSG_TRUNC, nullptr, nullptr) == 6);
    CHECK(data.text().substr(97) == "lon");
    close(a);
    close(b);
}

TEST_CASE("socket options") {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    for (int claimed : {0, 1, 4, 8, 100}) {
        CAPTURE(claimed);
        Guarded got(8), want(8), got_length(4), want_length(4);
        got_length.as<int>() = want_length.as<int>() = claimed;
        CHECK(forwarded(SYS_getsockopt, s, SOL_SOCKET, SO_RCVBUF, got.data(), got_length.data())
              == native(SYS_getsockopt, s, SOL_SOCKET, SO_RCVBUF, want.data(), want_length.data()));
        CHECK(got.text() == want.text());
        CHECK(got_length.as<int>() == want_length.as<int>());
    }
    Guarded one(4);
    one.as<int>() = 1;
    CHECK(forwarded(SYS_setsockopt, s, SOL_SOCKET, SO_KEEPALIVE, one.data(), 4) == 0);
    CHECK(forwarded(SYS_setsockopt, s, SOL_SOCKET, SO_KEEPALIVE, one.data(), 2) == -EINVAL);
    CHECK(forwarded(SYS_setsockopt, s, SOL_SOCKET, SO_KEEPALIVE, kUnmapped, 4) == -EFAULT);
    Guarded code(8), program(16);
    code.as<sock_filter>() = {BPF_RET | BPF_K, 0, 0, 0xffffffff};
    program.as<uint64_t>() = 1;
    program.as<uint64_t>(8) = code.address();
    CHECK(forwarded(SYS_setsockopt, s, SOL_SOCKET, SO_ATTACH_FILTER, program.data(), 16) == 0);
    program.as<uint64_t>(8) = kUnmapped;
    CHECK(forwarded(SYS_setsockopt, s, SOL_SOCKET, SO_ATTACH_FILTER, program.data(), 16) == -EFAULT);
    close(s);
}

TEST_CASE("messages with descriptors in them") {
    Sockets sockets;
    Guarded text(5), control(CMSG_SPACE(sizeof(int))), vector(sizeof(iovec)), header(sizeof(msghdr));
    text.set("hello");
    vector.as<iovec>() = {text.data(), 5};
    auto& h = header.as<msghdr>();
    h = {};
    h.msg_iov = &vector.as<iovec>();
    h.msg_iovlen = 1;
    h.msg_control = control.data();
    h.msg_controllen = control.size();
    auto* c = CMSG_FIRSTHDR(&h);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    int passed = 2;
    std::memcpy(CMSG_DATA(c), &passed, sizeof passed);
    header.make_read_only();
    CHECK(forwarded(SYS_sendmsg, sockets.ends[0], header.data(), 0) == 5);

    Guarded room(64), ancillary(200), incoming(2 * sizeof(iovec)), in_header(sizeof(msghdr)), name(sizeof(sockaddr_un));
    (&incoming.as<iovec>())[0] = {room.data(), 2};
    (&incoming.as<iovec>())[1] = {room.data() + 10, 50};
    auto& r = in_header.as<msghdr>();
    r = {};
    r.msg_name = name.data();
    r.msg_namelen = sizeof(sockaddr_un);
    r.msg_iov = &incoming.as<iovec>();
    r.msg_iovlen = 2;
    r.msg_control = ancillary.data();
    r.msg_controllen = 200;
    CHECK(forwarded(SYS_recvmsg, sockets.ends[1], in_header.data(), 0) == 5);
    CHECK(room.text().substr(0, 2) == "he");
    CHECK(room.text().substr(10, 3) == "llo");
    CHECK(room.as<uint8_t>(2) == 0xc5);
    CHECK(room.as<uint8_t>(13) == 0xc5);
    CHECK(r.msg_iov == &incoming.as<iovec>());               // the guest's own pointers stay
    CHECK(r.msg_control == ancillary.data());
    CHECK(r.msg_namelen == 0);
    CHECK(r.msg_flags == 0);
    REQUIRE(r.msg_controllen == CMSG_SPACE(sizeof(int)));
    int got = -1;
    std::memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&r)), sizeof got);
    CHECK(got > 2);
    CHECK(fcntl(got, F_GETFD) >= 0);
    close(got);
    CHECK(ancillary.as<uint8_t>(CMSG_SPACE(sizeof(int))) == 0xc5);
}

TEST_CASE("messages that are not all there") {
    Sockets sockets;
    fcntl(sockets.ends[0], F_SETFL, O_NONBLOCK);
    Guarded header(sizeof(msghdr)), vector(sizeof(iovec)), text(4);
    vector.as<iovec>() = {text.data(), 4};
    auto& h = header.as<msghdr>();
    h = {};
    h.msg_iov = &vector.as<iovec>();
    h.msg_iovlen = 1;
    auto compare = [&] {
        int64_t wanted = native(SYS_sendmsg, sockets.ends[0], header.data(), MSG_DONTWAIT);
        CHECK(forwarded(SYS_sendmsg, sockets.ends[0], header.data(), MSG_DONTWAIT) == wanted);
    };
    SUBCASE("fine") { compare(); }
    SUBCASE("too many vectors") { h.msg_iovlen = 1025; compare(); }
    SUBCASE("no vectors") { h.msg_iovlen = 0; compare(); }
    SUBCASE("vectors unmapped") { h.msg_iov = reinterpret_cast<iovec*>(kUnmapped); compare(); }
    SUBCASE("contents unmapped") { vector.as<iovec>().iov_base = reinterpret_cast<void*>(kUnmapped); compare(); }
    SUBCASE("name unmapped") { h.msg_name = reinterpret_cast<void*>(kUnmapped); h.msg_namelen = 10; compare(); }
    SUBCASE("name of negative length") { h.msg_name = &h; h.msg_namelen = ~socklen_t{0}; compare(); }
    SUBCASE("control unmapped") {
        h.msg_control = reinterpret_cast<void*>(kUnmapped);
        h.msg_controllen = 20;
        compare();
    }
    SUBCASE("control enormous") { h.msg_control = header.data(); h.msg_controllen = size_t{1} << 40; compare(); }
    SUBCASE("header unmapped") { CHECK(forwarded(SYS_sendmsg, sockets.ends[0], kUnmapped, 0) == -EFAULT); }
    SUBCASE("header cut") { CHECK(forwarded(SYS_sendmsg, sockets.ends[0], header.data() + 8, 0) == -EFAULT); }
    SUBCASE("wrong descriptor first") { CHECK(forwarded(SYS_sendmsg, -1, kUnmapped, 0) == -EBADF); }
}

TEST_CASE("several messages at once") {
    Sockets sockets;
    Guarded headers(3 * sizeof(mmsghdr)), vectors(3 * sizeof(iovec)), text(9);
    text.set("onetwo333");
    auto* m = &headers.as<mmsghdr>();
    auto* v = &vectors.as<iovec>();
    for (int i = 0; i < 3; ++i) {
        v[i] = {text.data() + 3 * i, static_cast<size_t>(i) + 1};
        m[i] = {};
        m[i].msg_hdr.msg_iov = v + i;
        m[i].msg_hdr.msg_iovlen = 1;
        m[i].msg_len = 99;
    }
    CHECK(forwarded(SYS_sendmmsg, sockets.ends[0], m, 3, 0) == 3);
    CHECK(m[0].msg_len == 1);
    CHECK(m[2].msg_len == 3);
    v[1].iov_base = reinterpret_cast<void*>(kUnmapped);
    m[1].msg_len = 99;
    CHECK(forwarded(SYS_sendmmsg, sockets.ends[0], m, 3, 0) == 1);
    CHECK(m[1].msg_len == 99);

    Guarded room(40), in_headers(5 * sizeof(mmsghdr)), in_vectors(5 * sizeof(iovec));
    auto* r = &in_headers.as<mmsghdr>();
    auto* w = &in_vectors.as<iovec>();
    for (int i = 0; i < 5; ++i) {
        w[i] = {room.data() + 8 * i, 8};
        r[i] = {};
        r[i].msg_hdr.msg_iov = w + i;
        r[i].msg_hdr.msg_iovlen = 1;
        r[i].msg_len = 99;
    }
    CHECK(forwarded(SYS_recvmmsg, sockets.ends[1], r, 5, MSG_DONTWAIT, nullptr) == 4);
    CHECK(r[0].msg_len == 1);
    CHECK(r[1].msg_len == 2);
    CHECK(r[2].msg_len == 3);
    CHECK(r[4].msg_len == 99);
    CHECK(room.text().substr(8, 2) == "tw");
    CHECK(room.as<uint8_t>(10) == 0xc5);
    CHECK(room.text().substr(16, 3) == "333");
    CHECK(room.as<uint8_t>(32) == 0xc5);
    CHECK(forwarded(SYS_recvmmsg, sockets.ends[1], r, 5, MSG_DONTWAIT, nullptr) == -EAGAIN);
    CHECK(forwarded(SYS_recvmmsg, sockets.ends[1], kUnmapped, 5, MSG_DONTWAIT, nullptr) == -EFAULT);
}

TEST_CASE("structs that say their own size") {
    Guarded path(2), mount(4);
    path.set({"/", 2});
    for (unsigned capacity : {0u, 4u, 128u, 129u, 100000u}) {
        CAPTURE(capacity);
        Guarded got(136), want(136);
        got.as<unsigned>() = want.as<unsigned>() = capacity;
        int64_t wanted = native(SYS_name_to_handle_at, AT_FDCWD, path.data(), want.data(), mount.data(), 0);
        CHECK(forwarded(SYS_name_to_handle_at, AT_FDCWD, path.data(), got.data(), mount.data(), 0) == wanted);
        CHECK(got.text() == want.text());
    }
    Guarded attributes(48);
    CHECK(native(SYS_sched_getattr, 0, attributes.data(), 48, 0) == 0);
    CHECK(forwarded(SYS_sched_setattr, 0, attributes.data(), 0) == 0);
    attributes.as<unsigned>() = 0;           // means 48
    CHECK(forwarded(SYS_sched_setattr, 0, attributes.data(), 0) == 0);
    attributes.as<unsigned>() = 8;
    int64_t wanted = native(SYS_sched_setattr, 0, attributes.data(), 0);
    unsigned told = attributes.as<unsigned>();
    attributes.as<unsigned>() = 8;
    CHECK(forwarded(SYS_sched_setattr, 0, attributes.data(), 0) == wanted);
    CHECK(attributes.as<unsigned>() == told);
}

TEST_CASE("ioctl of terminals, sockets and files") {
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    REQUIRE(master >= 0);
    Guarded got(36), want(36);
    CHECK(forwarded(SYS_ioctl, master, TCGETS, got.data()) == native(SYS_ioctl, master, TCGETS, want.data()));
    CHECK(got.text() == want.text());
    CHECK(forwarded(SYS_ioctl, master, TCSETS, got.data()) == 0);
    CHECK(forwarded(SYS_ioctl, master, TCGETS, got.data() + 1) == -EFAULT);
    CHECK(forwarded(SYS_ioctl, 0x7fff, TCGETS, kUnmapped) == -EBADF);
    close(master);

    int s = socket(AF_INET, SOCK_DGRAM, 0);
    ifreq one{}, other{};
    std::strcpy(one.ifr_name, "lo");
    other = one;
    CHECK(forwarded(SYS_ioctl, s, SIOCGIFFLAGS, &one) == native(SYS_ioctl, s, SIOCGIFFLAGS, &other));
    CHECK(one.ifr_flags == other.ifr_flags);
    Guarded list(400), list2(400);
    ifconf c{}, c2{};
    c.ifc_len = c2.ifc_len = 400;
    c.ifc_buf = reinterpret_cast<char*>(list.data());
    c2.ifc_buf = reinterpret_cast<char*>(list2.data());
    CHECK(forwarded(SYS_ioctl, s, SIOCGIFCONF, &c) == native(SYS_ioctl, s, SIOCGIFCONF, &c2));
    CHECK(c.ifc_len == c2.ifc_len);
    CHECK(c.ifc_buf == reinterpret_cast<char*>(list.data()));
    CHECK(list.text() == list2.text());
    c.ifc_buf = nullptr;
    CHECK(forwarded(SYS_ioctl, s, SIOCGIFCONF, &c) == 0);
    CHECK(c.ifc_len == c2.ifc_len);
    close(s);
}

TEST_CASE("System V semaphores and messages") {
    int set = semget(IPC_PRIVATE, 3, 0600);
    REQUIRE(set >= 0);
    Guarded values(6), got(8), operations(6);
    values.as<uint16_t>(0) = 5; values.as<uint16_t>(2) = 6; values.as<uint16_t>(4) = 7;
    CHECK(forwarded(SYS_semctl, set, 0, SETALL, values.data()) == 0);
    CHECK(forwarded(SYS_semctl, set, 0, GETALL, got.data()) == 0);
    CHECK(got.text().substr(0, 6) == values.text());
    CHECK(got.as<uint16_t>(6) == 0xc5c5);
    CHECK(forwarded(SYS_semctl, set, 0, GETALL, got.data() + 4) == -EFAULT);
    CHECK(forwarded(SYS_semctl, set, 1, SETVAL, 9) == 0);
    CHECK(forwarded(SYS_semctl, set, 1, GETVAL, 0) == 9);
    operations.as<sembuf>() = {1, -9, 0};
    CHECK(forwarded(SYS_semop, set, operations.data(), 1) == 0);
    CHECK(forwarded(SYS_semctl, set, 1, GETVAL, 0) == 0);
    Guarded status(104), status2(104);
    CHECK(native(SYS_semctl, set, 0, IPC_STAT, status2.data()) == 0);
    CHECK(forwarded(SYS_semctl, set, 0, IPC_STAT, status.data()) == 0);
    CHECK(status.text() == status2.text());
    CHECK(forwarded(SYS_semctl, set, 0, IPC_RMID, 0) == 0);

    int queue = msgget(IPC_PRIVATE, 0600);
    Guarded message(13), room(28);
    message.set({"\4\0\0\0\0\0\0\0hello", 13});
    CHECK(forwarded(SYS_msgsnd, queue, message.data(), 5, 0) == 0);
    CHECK(forwarded(SYS_msgrcv, queue, room.data(), 20, 0, 0) == 5);
    CHECK(room.text().substr(0, 13) == message.text());
    CHECK(room.as<uint8_t>(13) == 0xc5);
    CHECK(forwarded(SYS_msgctl, queue, IPC_RMID, 0) == 0);
}

TEST_CASE("waiting writes only when there is a child") {
    pid_t child = fork();
    if (child == 0) _exit(5);
    Guarded status(4), usage(144);
    siginfo_t seen;
    REQUIRE(waitid(P_PID, static_cast<id_t>(child), &seen, WEXITED | WNOWAIT) == 0);
    CHECK(forwarded(SYS_wait4, child, status.data(), 0, usage.data()) == child);
    CHECK(WEXITSTATUS(status.as<int>()) == 5);
    CHECK(forwarded(SYS_wait4, child, status.data(), 0, nullptr) == -ECHILD);
    pid_t sleeper = fork();
    if (sleeper == 0) { pause(); _exit(0); }
    Guarded untouched(4), info(28), usage2(144);
    std::string before = usage2.text();
    CHECK(forwarded(SYS_wait4, sleeper, untouched.data(), WNOHANG, nullptr) == 0);
    CHECK(untouched.as<uint32_t>() == 0xc5c5c5c5);
    CHECK(forwarded(SYS_waitid, P_PID, sleeper, info.data(), WEXITED | WNOHANG, usage2.data()) == 0);
    CHECK(info.as<int>() == 0);
    CHECK(info.as<uint32_t>(12) == 0xc5c5c5c5);
    CHECK(usage2.text() == before);
    kill(sleeper, SIGKILL);
    CHECK(forwarded(SYS_waitid, P_PID, sleeper, info.data(), WEXITED, nullptr) == 0);
    CHECK(info.as<int>(20) == static_cast<int>(getuid()));
    CHECK(info.as<int>(24) == SIGKILL);
}

TEST_CASE("argument lists") {
    Guarded list(3 * sizeof(char*)), path(20), one(4);
    path.set({"/does/not/exist-----", 20});
    path.as<char>(19) = 0;
    one.set({"one", 4});
    auto* v = &list.as<uint64_t>();
    v[0] = one.address(); v[1] = path.address(); v[2] = 0;
    OwnMemory memory;
    TestArena arena;
    Bytes body;
    Writer out(body);
    CallArgs args{path.address(), list.address(), 0};
    REQUIRE(encode_call(HomeTid(1), SYS_execve, args, memory, out).has_value());
    auto call = decode_call(body, arena);
    REQUIRE(call.has_value());
    auto* laid = reinterpret_cast<char**>(call->deputy[1]);
    CHECK(std::string(laid[0]) == "one");
    CHECK(std::string(laid[1]) == "/does/not/exist----");
    CHECK(laid[2] == nullptr);
    CHECK(call->deputy[2] == 0);
    CHECK(call->outs.empty());

    CHECK(forwarded(SYS_execve, path.data(), list.data(), nullptr) == -ENOENT);
    path.set({"/bin/true", 10});
    v[1] = one.address();
    v[2] = kUnmapped;       // and no NULL before the guard page
    CHECK(forwarded(SYS_execve, path.data(), list.data(), nullptr) == -EFAULT);
    v[2] = 0;
    v[1] = kUnmapped;
    CHECK(forwarded(SYS_execve, path.data(), list.data(), nullptr) == -EFAULT);
    Guarded big(200000);
    std::memset(big.data(), 'a', 200000);
    big.as<char>(199999) = 0;
    v[1] = big.address();
    CHECK(forwarded(SYS_execve, path.data(), list.data(), nullptr) == -E2BIG);
}

TEST_CASE("what the deputy must not get it does not get") {
    // Pointers that only a node's kernel uses never arrive, even in calls whose rows are not for forwarding.
    CHECK(travel(SYS_shmdt, {0x7fff00001000}).deputy[0] == 0);
    OwnMemory memory;
    TestArena arena;
    Bytes body;
    Writer out(body);
    REQUIRE(encode_call(HomeTid(1), SYS_munmap, {0x7fff00001000, 4096}, memory, out).has_value());
    auto call = decode_call(body, arena);
    REQUIRE(call.has_value());
    CHECK(call->guest[0] == 0x7fff00001000);
    CHECK(call->deputy[0] == 0);
    CHECK(!encode_call(HomeTid(1), 5000, {}, memory, out).has_value());
}

TEST_CASE("home refuses what does not agree") {
    OwnMemory memory;
    Guarded text(100);
    CallArgs args{1, text.address(), 100};
    Bytes good;
    Writer out(good);
    REQUIRE(encode_call(HomeTid(1), SYS_write, args, memory, out).has_value());
    auto refused = [&](auto&& change) {
        Bytes body = good;
        change(body);
        TestArena arena;
        return !decode_call(body, arena).has_value();
    };
    CHECK(!refused([](Bytes&) {}));
    CHECK(refused([](Bytes& b) { b.pop_back(); }));
    CHECK(refused([](Bytes& b) { b.push_back({}); }));
    CHECK(refused([](Bytes& b) { b[8 + 16] = std::byte{99}; }));                    // the count no longer covers it
    CHECK(refused([](Bytes& b) { b[56] = std::byte{101}; b.push_back({}); }));      // a longer piece than the count
    CHECK(refused([](Bytes& b) { b[4] = std::byte{0xff}; b[5] = std::byte{0xff}; }));     // no such call
    CHECK(refused([](Bytes& b) { b.resize(20); }));
}
