#include "remote/lazy_files.h"
#include <doctest/doctest.h>
#include <algorithm>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace omx;

namespace {

constexpr uint64_t kKib = 1 << 10, kMib = 1 << 20;

// Lazy files on a link, and the other end of it.
struct Fixture {
    std::unique_ptr<Loop> loop = std::move(*Loop::make(LoopKind::epoll));
    std::unique_ptr<Link> node, home;
    std::unique_ptr<LazyFiles> files;
    Fixture() {
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
        node = std::make_unique<Link>(plain_channel(UniqueFd(ends[0])), *loop);
        home = std::make_unique<Link>(plain_channel(UniqueFd(ends[1])), *loop);
        files = std::make_unique<LazyFiles>(*node);
    }
    struct Asked { uint64_t id = 0, handle = 0, offset = 0, bytes = 0; };
    Asked asked() {
        auto frame = home->receive_wait(1000);
        REQUIRE(frame);
        REQUIRE(frame->type == FrameType::file_get);
        auto get = FileGet::decode(frame->body);
        REQUIRE(get);
        return {frame->id, get->handle, get->offset, get->bytes};
    }
    bool silent() { return !home->receive()->has_value(); }
    Status answer(const Asked& a, uint64_t from, std::string_view text, bool last = true, int32_t error = 0) {
        return files->on_data(a.id, {.handle = a.handle, .offset = from, .error = error, .last = last,
                                     .data = std::as_bytes(std::span(text))});
    }
    Status answer(const Asked& a) { return answer(a, a.offset, std::string(a.bytes, 'x')); }
    Asked touch(LazyFile& file, uint64_t at) {
        file.want(at, at + 1, [](Status) {});
        return asked();
    }
};

std::string text_at(const LazyFile& file, off_t at, size_t bytes) {
    std::string text(bytes, '?');
    auto n = pread(file.reader(), text.data(), bytes, at);
    return text.substr(0, static_cast<size_t>(std::max<ssize_t>(n, 0)));
}

}  // namespace

TEST_CASE("a probe of a big file costs one small read") {
    Fixture f;
    auto file = *f.files->open({.handle = 1, .bytes = 20480 * kMib});
    int came = 0;
    file->want(5000 * kMib + 70'000, 5000 * kMib + 70'001, [&](Status got) { came += got.has_value(); });
    auto asked = f.asked();
    CHECK(asked.offset == 5000 * kMib + 64 * kKib);
    CHECK(asked.bytes == 64 * kKib);
    CHECK(f.answer(asked));
    CHECK(came == 1);
    CHECK(file->here(5000 * kMib + 64 * kKib, 5000 * kMib + 128 * kKib));
    CHECK_FALSE(file->here(5000 * kMib, 5000 * kMib + 1));
    file->want(5000 * kMib + 80'000, 5000 * kMib + 90'000, [&](Status got) { came += got.has_value(); });
    CHECK(came == 2);
    CHECK(f.silent());
}

TEST_CASE("who reads on gets twice as much each time") {
    Fixture f;
    auto file = *f.files->open({.handle = 1, .bytes = 1024 * kMib});
    uint64_t at = 0, reads = 0, greatest = 0;
    for (; at < 64 * kMib; reads++) {
        auto asked = f.touch(*file, at);
        CHECK(asked.offset == at);
        CHECK(f.answer(asked));
        at += asked.bytes;
        greatest = std::max(greatest, asked.bytes);
    }
    CHECK(greatest == 8 * kMib);
    CHECK(reads < 16);
    CHECK(f.touch(*file, 512 * kMib).bytes == 64 * kKib);
}

TEST_CASE("what is on its way is not asked for again") {
    Fixture f;
    auto file = *f.files->open({.handle = 1, .bytes = kMib});
    int came = 0;
    auto done = [&](Status got) { came += got.has_value(); };
    file->want(0, 1, done);
    auto asked = f.asked();
    file->want(4096, 8192, done);
    CHECK(f.silent());
    file->want(0, 100 * kKib, done);
    auto rest = f.asked();
    CHECK(rest.offset == 64 * kKib);
    CHECK(f.answer(asked));
    CHECK(came == 2);
    CHECK(f.answer(rest));
    CHECK(came == 3);
}

TEST_CASE("a page is there when all of it is") {
    Fixture f;
    auto file = *f.files->open({.handle = 1, .bytes = 10'000});
    bool came = false;
    file->want(0, 10'000, [&](Status) { came = true; });
    auto asked = f.asked();
    CHECK(asked.bytes == 10'000);
    CHECK(f.answer(asked, 0, std::string(5000, 'a'), false));
    CHECK(file->here(0, 4096));
    CHECK_FALSE(file->here(0, 5000));
    CHECK(f.answer(asked, 5000, std::string(100, 'b'), false));
    CHECK(f.answer(asked, 5100, std::string(4900, 'c'), true));
    CHECK(came);
    CHECK(text_at(*file, 4998, 4) == "aabb");
    CHECK(text_at(*file, 9998, 10) == "cc");
}

TEST_CASE("a file that became shorter ends there") {
    Fixture f;
    auto file = *f.files->open({.handle = 1, .bytes = kMib});
    int came = 0;
    auto done = [&](Status got) { came += got.has_value(); };
    file->want(0, 1, done);
    CHECK(f.answer(f.asked(), 0, "short"));
    file->want(100 * kKib, 200 * kKib, done);
    CHECK(came == 2);
    CHECK(f.silent());
    CHECK(text_at(*file, 0, 100) == "short");
}

TEST_CASE("a piece that home can't read fails for who waits for it") {
    Fixture f;
    auto file = *f.files->open({.handle = 1, .bytes = kMib});
    std::string why;
    file->want(0, 1, [&](Status got) { why = got ? "" : got.error().what; });
    CHECK(f.answer(f.asked(), 0, "", true, EIO));
    CHECK(why == "home can't read a mapped file: Input/output error");
}

TEST_CASE("pieces that nobody asked for are refused") {
    Fixture f;
    auto file = *f.files->open({.handle = 1, .bytes = kMib});
    auto asked = f.touch(*file, 0);
    CHECK_FALSE(f.answer(asked, 4096, "x"));
    CHECK_FALSE(f.answer({asked.id, 2, 0, 0}, 0, "x"));
    CHECK_FALSE(f.answer(asked, 0, std::string(asked.bytes + 1, 'x')));
    CHECK(f.answer({asked.id + 100, 1, 0, 0}, 0, "x"));          // of a file that has gone
}

TEST_CASE("guests share a big file while its content is the same, and home may close it when none has it") {
    Fixture f;
    FileKey key{.handle = 1, .device = 1, .inode = 2, .bytes = kMib, .ctime_ns = 5, .cacheable = true};
    auto first = *f.files->open(key);
    key.handle = 2;
    CHECK(*f.files->open(key) == first);
    auto frame = f.home->receive_wait(1000);
    REQUIRE(frame);
    CHECK(FileDone::decode(frame->body)->handle == 2);
    key.handle = 3, key.ctime_ns = 6;
    CHECK(*f.files->open(key) != first);
    frame = f.home->receive_wait(1000);
    REQUIRE(frame);
    CHECK(FileDone::decode(frame->body)->handle == 3);
    struct stat s{};
    REQUIRE(fstat(first->reader(), &s) == 0);
    REQUIRE(f.files->file_of(s.st_ino));
    CHECK(f.files->file_of(s.st_ino)->handle == 1);
    auto asked = f.touch(*first, 0);
    first.reset();
    CHECK_FALSE(f.files->file_of(s.st_ino));
    frame = f.home->receive_wait(1000);
    REQUIRE(frame);
    CHECK(FileDone::decode(frame->body)->handle == 1);
    CHECK(f.answer(asked));                                       // it was on its way
}
