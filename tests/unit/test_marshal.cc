// Calls with flat buffers, strings and vectors. Messages and calls with their own shapes: test_marshal_shapes.cc.
#include "tests/unit/call_path.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/poll.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/utsname.h>

using namespace omx;
using namespace omx::test;

namespace {

struct Pipe {
    int ends[2];
    Pipe() { REQUIRE(pipe(ends) == 0); }
    ~Pipe() { close(ends[0]); close(ends[1]); }
    void put(std::string_view s) const {
        REQUIRE(write(ends[1], s.data(), s.size()) == static_cast<ssize_t>(s.size()));
    }
    std::string take(size_t most = 65536) const {
        std::string s(most, 0);
        ssize_t n = read(ends[0], s.data(), most);
        s.resize(n > 0 ? static_cast<size_t>(n) : 0);
        return s;
    }
};

struct File {
    char path[32] = "/tmp/omxsup-test-XXXXXX";
    int fd;
    explicit File(std::string_view content = {}) : fd(mkstemp(path)) {
        REQUIRE(fd >= 0);
        REQUIRE(pwrite(fd, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
    }
    ~File() { close(fd); unlink(path); }
};

// Does it both ways with the same buffer and compares result and bytes.
enum class Compare { everything, result_bytes };
template <class Call> void same_both_ways(const Guarded& buffer, Call&& call, Compare how = Compare::everything) {
    std::string before = buffer.text();
    int64_t wanted = call([](auto... a) { return native(a...); });
    std::string written = buffer.text();
    buffer.set(before);
    int64_t got = call([](auto... a) { return forwarded(a...); });
    CHECK(got == wanted);
    // Behind what counts, the kernel may leave the beginning of what it then could not finish: that does not travel.
    size_t counts = how == Compare::everything ? written.size() : static_cast<size_t>(std::max<int64_t>(wanted, 0));
    CHECK(buffer.text().substr(0, counts) == written.substr(0, counts));
    CHECK(buffer.canary_lives());
}

constexpr uint64_t kUnmapped = 0x10000, kKernel = 0xffffffffff600000, kNoncanonical = 0x800000000000;

}  // namespace

TEST_CASE("plain numbers travel") {
    CHECK(forwarded(SYS_getppid) == getppid());
    CHECK(forwarded(SYS_getpgid, 0) == getpgid(0));
    CHECK(forwarded(SYS_lseek, -1, 0, SEEK_SET) == -EBADF);
    CHECK(travel(SYS_getppid, {1, 2, 3, 4, 5, 6}).deputy == CallArgs{});      // arguments that the call has not
}

TEST_CASE("a write carries its bytes") {
    Pipe pipe;
    Guarded buffer(100);
    buffer.set("hello");
    CHECK(forwarded(SYS_write, pipe.ends[1], buffer.data(), 100) == 100);
    CHECK(pipe.take() == buffer.text());
    CHECK(forwarded(SYS_write, pipe.ends[1], buffer.end() - 1, 1) == 1);
    CHECK(pipe.take().size() == 1);
    CHECK(forwarded(SYS_write, pipe.ends[1], nullptr, 0) == native(SYS_write, pipe.ends[1], nullptr, 0));
    CHECK(forwarded(SYS_write, pipe.ends[1], kUnmapped, 0) == native(SYS_write, pipe.ends[1], kUnmapped, 0));
}

TEST_CASE("a buffer that ends at bad memory does what it does natively") {
    Guarded buffer(100);
    for (size_t claimed : {101, 200, 5000, 70000}) {
        CAPTURE(claimed);
        Pipe a, b;
        fcntl(a.ends[1], F_SETFL, O_NONBLOCK);
        fcntl(b.ends[1], F_SETFL, O_NONBLOCK);
        fcntl(a.ends[0], F_SETFL, O_NONBLOCK);
        fcntl(b.ends[0], F_SETFL, O_NONBLOCK);
        int64_t wanted = native(SYS_write, b.ends[1], buffer.data(), claimed);
        CHECK(forwarded(SYS_write, a.ends[1], buffer.data(), claimed) == wanted);
        CHECK(a.take() == b.take());
    }
    File a, b;
    CHECK(forwarded(SYS_write, a.fd, buffer.data(), 5000) == native(SYS_write, b.fd, buffer.data(), 5000));
    CHECK(lseek(a.fd, 0, SEEK_END) == lseek(b.fd, 0, SEEK_END));
}

TEST_CASE("bad pointers come in home's order: EBADF first") {
    Pipe pipe;
    File file("content");
    fcntl(pipe.ends[0], F_SETFL, O_NONBLOCK);
    for (uint64_t bad : {uint64_t{0}, kUnmapped, kKernel, kNoncanonical}) {
        CAPTURE(bad);
        for (int fd : {-1, 999, file.fd, pipe.ends[0], pipe.ends[1]}) {
            CAPTURE(fd);
            CHECK(forwarded(SYS_write, fd, bad, 10) == native(SYS_write, fd, bad, 10));
            CHECK(forwarded(SYS_read, fd, bad, 10) == native(SYS_read, fd, bad, 10));
            CHECK(forwarded(SYS_read, fd, bad, 0) == native(SYS_read, fd, bad, 0));
            CHECK(forwarded(SYS_fstat, fd, bad) == native(SYS_fstat, fd, bad));
            CHECK(forwarded(SYS_write, fd, bad, ~uint64_t{0}) == native(SYS_write, fd, bad, ~uint64_t{0}));
        }
        CHECK(forwarded(SYS_openat, AT_FDCWD, bad, O_RDONLY, 0) == native(SYS_openat, AT_FDCWD, bad, O_RDONLY, 0));
        CHECK(forwarded(SYS_openat, AT_FDCWD, bad, O_CREAT | O_DIRECTORY | 0x80000000, 0)
              == native(SYS_openat, AT_FDCWD, bad, O_CREAT | O_DIRECTORY | 0x80000000, 0));
        CHECK(forwarded(SYS_uname, bad) == -EFAULT);
    }
    // A read that fails for its buffer has not eaten what it would have read.
    pipe.put("kept");
    CHECK(forwarded(SYS_read, pipe.ends[0], kUnmapped, 10) == -EFAULT);
    CHECK(pipe.take() == "kept");
}

TEST_CASE("a length beyond memory is refused as a whole") {
    Pipe pipe;
    Guarded buffer(100);
    for (uint64_t bytes : {~uint64_t{0}, ~uint64_t{0} >> 1}) {
        int64_t wanted = native(SYS_write, pipe.ends[1], buffer.data(), bytes);
        CHECK(forwarded(SYS_write, pipe.ends[1], buffer.data(), bytes) == wanted);
    }
}

TEST_CASE("a read brings what was read and no more") {
    Pipe pipe;
    Guarded buffer(100);
    pipe.put("seventeen letters");
    std::string before = buffer.text();
    auto way = travel(SYS_read, {word(pipe.ends[0]), buffer.address(), 100});
    CHECK(way.result == 17);
    CHECK(way.call_bytes == 60);
    CHECK(way.reply_bytes == 16 + 12 + 17);
    CHECK(buffer.text() == "seventeen letters" + before.substr(17));
    CHECK(buffer.canary_lives());
}

TEST_CASE("out-buffers are writable only so far") {
    std::string content(9000, 'x');
    File file(content);
    Guarded buffer(100);
    for (size_t claimed : {100, 101, 8000}) {
        CAPTURE(claimed);
        same_both_ways(buffer, [&](auto call) { return call(SYS_pread64, file.fd, buffer.data(), claimed, 0); });
        Pipe a, b;
        a.put(content.substr(0, claimed));
        b.put(content.substr(0, claimed));
        int64_t wanted = native(SYS_read, b.ends[0], buffer.data(), claimed);
        CHECK(forwarded(SYS_read, a.ends[0], buffer.data(), claimed) == wanted);
    }
    Guarded constant(4096, PROT_READ);
    CHECK(forwarded(SYS_pread64, file.fd, constant.data(), 10, 0) == -EFAULT);
    Guarded half(70);
    same_both_ways(half, [&](auto call) { return call(SYS_fstat, file.fd, half.data()); }, Compare::result_bytes);
}

TEST_CASE("strings end at their NUL, at bad memory, or are too long") {
    File file;
    Guarded exact(std::strlen(file.path) + 1);
    exact.set({file.path, std::strlen(file.path) + 1});
    Guarded status(sizeof(struct stat));
    same_both_ways(status, [&](auto call) { return call(SYS_stat, exact.data(), status.data()); });
    Guarded open_end(20);
    open_end.set("/tmp/has-no-end-----");
    same_both_ways(status, [&](auto call) { return call(SYS_stat, open_end.data(), status.data()); });
    for (size_t length : {255, 256, 257, 4094, 4095, 4096, 4097, 9000}) {
        CAPTURE(length);
        Guarded path(length + 1);
        std::string name(length, '/');
        name.push_back(0);
        path.set(name);
        same_both_ways(status, [&](auto call) { return call(SYS_stat, path.data(), status.data()); });
    }
    Guarded empty(1);
    empty.set(std::string(1, 0));
    CHECK(forwarded(SYS_stat, empty.data(), status.data()) == -ENOENT);
    CHECK(forwarded(SYS_rename, exact.data(), empty.data()) == -ENOENT);
}

TEST_CASE("results of a call's own size") {
    Guarded buffer(64), small(1);
    CHECK(native(SYS_symlink, "target-of-the-link", "/tmp/omxsup-test-link") == 0);
    same_both_ways(buffer, [&](auto call) {
        return call(SYS_readlinkat, AT_FDCWD, "/tmp/omxsup-test-link", buffer.data(), 64); });
    same_both_ways(small, [&](auto call) {
        return call(SYS_readlinkat, AT_FDCWD, "/tmp/omxsup-test-link", small.data(), 1); });
    CHECK(forwarded(SYS_readlinkat, AT_FDCWD, "/tmp/omxsup-test-link", buffer.data(), -1) == -EINVAL);
    unlink("/tmp/omxsup-test-link");
    Guarded wide(4096);
    same_both_ways(wide, [&](auto call) { return call(SYS_getcwd, wide.data(), 4096); });
    same_both_ways(wide, [&](auto call) { return call(SYS_getcwd, wide.data(), 1); });
    same_both_ways(wide, [&](auto call) { return call(SYS_getcwd, wide.data(), ~uint64_t{0} >> 1); });
    same_both_ways(wide, [&](auto call) { return call(SYS_getgroups, 1024, wide.data()); });
    CHECK(forwarded(SYS_getgroups, 0, nullptr) == native(SYS_getgroups, 0, nullptr));
    CHECK(forwarded(SYS_getgroups, -1, wide.data()) == -EINVAL);
    same_both_ways(wide, [&](auto call) { return call(SYS_sched_getaffinity, 0, 4096, wide.data()); });
    Guarded utsname(sizeof(struct utsname));
    same_both_ways(utsname, [&](auto call) { return call(SYS_uname, utsname.data()); });
}

TEST_CASE("directories are listed") {
    int a = open("/proc/self", O_RDONLY | O_DIRECTORY);
    Guarded entries(4096);
    // The kernel leaves gaps between entries as they were: the arena's filling makes them alike.
    std::memset(entries.data(), 0xee, entries.size());
    for (unsigned claimed : {8, 4096, 200000}) {
        same_both_ways(entries, [&](auto call) {
            lseek(a, 0, SEEK_SET);
            return call(SYS_getdents64, a, entries.data(), claimed);
        }, Compare::result_bytes);
    }
    close(a);
}

TEST_CASE("vectors go out, with a bad one in the middle") {
    Guarded one(100), two(50), list(3 * sizeof(iovec));
    auto* v = &list.as<iovec>();
    auto compare = [&](int count) {
        Pipe a, b;
        for (int fd : {a.ends[0], b.ends[0], a.ends[1], b.ends[1]}) fcntl(fd, F_SETFL, O_NONBLOCK);
        CHECK(forwarded(SYS_writev, a.ends[1], v, count) == native(SYS_writev, b.ends[1], v, count));
        CHECK(a.take() == b.take());
    };
    v[0] = {one.data(), 100}; v[1] = {two.data(), 50}; v[2] = {one.data() + 10, 7};
    SUBCASE("all good") { compare(3); }
    SUBCASE("none") { compare(0); }
    SUBCASE("negative count") { compare(-1); }
    SUBCASE("too many") { compare(1025); }
    SUBCASE("array itself too short") { compare(4); }
    SUBCASE("unmapped in the middle") { v[1].iov_base = reinterpret_cast<void*>(kUnmapped); compare(3); }
    SUBCASE("NULL in the middle") { v[1].iov_base = nullptr; compare(3); }
    SUBCASE("kernel's in the middle") { v[1].iov_base = reinterpret_cast<void*>(kKernel); compare(3); }
    SUBCASE("partly readable in the middle") { v[1].iov_len = 60; compare(3); }
    SUBCASE("empty and bad in the middle") { v[1] = {reinterpret_cast<void*>(kUnmapped), 0}; compare(3); }
    SUBCASE("negative length in the middle") { v[1].iov_len = ~size_t{0}; compare(3); }
    SUBCASE("bad at the start") { v[0].iov_base = reinterpret_cast<void*>(kUnmapped); compare(3); }
}

TEST_CASE("vectors come in and share the result") {
    Guarded one(10), two(20), three(30), list(3 * sizeof(iovec));
    auto* v = &list.as<iovec>();
    v[0] = {one.data(), 10}; v[1] = {two.data(), 20}; v[2] = {three.data(), 30};
    File file("0123456789abcdefghijklmnopqrstuvwxyz");
    auto compare = [&] {
        std::string before = one.text() + two.text() + three.text();
        int64_t wanted = native(SYS_preadv, file.fd, v, 3, 0, 0);
        std::string written = one.text() + two.text() + three.text();
        one.set(before.substr(0, 10)); two.set(before.substr(10, 20)); three.set(before.substr(30, 30));
        CHECK(forwarded(SYS_preadv, file.fd, v, 3, 0, 0) == wanted);
        CHECK(one.text() + two.text() + three.text() == written);
    };
    SUBCASE("fully good, partly filled") { compare(); }
    SUBCASE("middle unmapped") { v[1].iov_base = reinterpret_cast<void*>(kUnmapped); compare(); }
    SUBCASE("middle runs into a guard page") { v[1].iov_len = 25; compare(); }
    SUBCASE("first read-only") { one.make_read_only(); CHECK(forwarded(SYS_preadv, file.fd, v, 3, 0, 0) == -EFAULT); }
    SUBCASE("an empty one first") { v[0].iov_len = 0; compare(); }
}

TEST_CASE("huge transfers become shorter") {
    int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY);
    uint64_t bytes = (96u << 20);
    auto* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    auto way = travel(SYS_read, {word(zero), word(p), bytes});
    CHECK(way.result == static_cast<int64_t>(kMaxPayload));
    CHECK(way.reply_bytes <= kMaxFrameBytes);
    auto sent = travel(SYS_write, {word(null), word(p), bytes});
    CHECK(sent.result == static_cast<int64_t>(kMaxPayload));
    CHECK(sent.call_bytes <= kMaxFrameBytes);
    iovec v[2] = {{p, bytes / 2}, {p, bytes / 2}};
    auto vectors = travel(SYS_readv, {word(zero), word(v), 2});
    CHECK(vectors.result > static_cast<int64_t>(60u << 20));
    CHECK(vectors.reply_bytes <= kMaxFrameBytes);
    munmap(p, bytes);
    close(zero);
    close(null);
}

TEST_CASE("poll, select and their kin") {
    Pipe ready, idle;
    ready.put("x");
    Guarded fds(3 * sizeof(pollfd));
    auto* p = &fds.as<pollfd>();
    p[0] = {ready.ends[0], POLLIN, 77}; p[1] = {idle.ends[0], POLLIN, 77}; p[2] = {-1, POLLIN, 77};
    same_both_ways(fds, [&](auto call) { return call(SYS_poll, p, 3, 0); });
    same_both_ways(fds, [&](auto call) { return call(SYS_poll, p, 4, 0); });
    same_both_ways(fds, [&](auto call) { return call(SYS_poll, p + 1, 2, 0); });
    CHECK(forwarded(SYS_poll, nullptr, 0, 1) == 0);

    Guarded set(128), time(sizeof(timeval)), mask(8), pair(16);
    FD_ZERO(&set.as<::fd_set>());
    FD_SET(ready.ends[0], &set.as<::fd_set>());
    FD_SET(idle.ends[0], &set.as<::fd_set>());
    time.as<timeval>() = {0, 0};
    same_both_ways(set, [&](auto call) {
        return call(SYS_select, idle.ends[0] + 1, set.data(), nullptr, nullptr, time.data()); });
    CHECK(forwarded(SYS_select, -1, set.data(), nullptr, nullptr, time.data()) == -EINVAL);
    CHECK(forwarded(SYS_select, 64, set.end() - 4, nullptr, nullptr, time.data()) == -EFAULT);

    mask.as<uint64_t>() = 0;
    pair.as<uint64_t>() = mask.address();
    pair.as<uint64_t>(8) = 8;
    time.make_read_only();       // a constant timeout is fine: the kernel does not insist on writing it
    FD_SET(ready.ends[0], &set.as<::fd_set>());
    same_both_ways(set, [&](auto call) {
        return call(SYS_pselect6, idle.ends[0] + 1, set.data(), nullptr, nullptr, time.data(), pair.data()); });
    pair.as<uint64_t>(8) = 4;
    same_both_ways(set, [&](auto call) {
        return call(SYS_pselect6, idle.ends[0] + 1, set.data(), nullptr, nullptr, time.data(), pair.data()); });
    pair.as<uint64_t>() = kUnmapped;
    pair.as<uint64_t>(8) = 8;
    CHECK(forwarded(SYS_pselect6, 0, nullptr, nullptr, nullptr, time.data(), pair.data()) == -EFAULT);
    pair.as<uint64_t>() = 0;
    CHECK(forwarded(SYS_pselect6, 0, nullptr, nullptr, nullptr, time.data(), pair.data()) == 0);
    same_both_ways(fds, [&](auto call) { return call(SYS_ppoll, p, 3, time.data(), mask.data(), 8); });
}

TEST_CASE("epoll") {
    Pipe ready;
    ready.put("x");
    int ep = static_cast<int>(forwarded(SYS_epoll_create1, 0));
    REQUIRE(ep >= 0);
    Guarded event(sizeof(epoll_event)), events(2 * sizeof(epoll_event));
    auto& e = event.as<epoll_event>();
    e.events = EPOLLIN;
    e.data.u64 = 0x123456789abcdef0;
    CHECK(forwarded(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, ready.ends[0], event.data()) == 0);
    same_both_ways(events, [&](auto call) { return call(SYS_epoll_wait, ep, events.data(), 2, 0); });
    CHECK(uint64_t{events.as<epoll_event>().data.u64} == 0x123456789abcdef0);
    same_both_ways(events, [&](auto call) { return call(SYS_epoll_wait, ep, events.data(), 9, 0); });
    CHECK(forwarded(SYS_epoll_wait, ep, events.data(), 0, 0) == -EINVAL);
    CHECK(forwarded(SYS_epoll_wait, ep, events.data(), -1, 0) == -EINVAL);
    CHECK(forwarded(SYS_epoll_ctl, ep, EPOLL_CTL_DEL, ready.ends[0], kUnmapped) == 0);
    close(ep);
}
