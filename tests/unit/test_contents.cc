#include "loader/cache_socket.h"
#include "remote/contents.h"
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>

using namespace omx;

namespace {

// Contents on a link, and the other end of it.
struct Fixture {
    std::unique_ptr<Loop> loop = std::move(*Loop::make(LoopKind::epoll));
    std::unique_ptr<Link> node, home;
    Fixture() {
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
        node = std::make_unique<Link>(plain_channel(UniqueFd(ends[0])), *loop);
        home = std::make_unique<Link>(plain_channel(UniqueFd(ends[1])), *loop);
    }
    // What comes next from the node, by its type; the handle of a file_done.
    std::pair<FrameType, uint64_t> next() {
        auto frame = home->receive_wait(1000);
        REQUIRE(frame);
        auto done = FileDone::decode(frame->body);
        return {frame->type, done ? done->handle : 0};
    }
};

std::string text_of(const SharedFd& file) {
    char text[64];
    auto n = pread(file->get(), text, sizeof text, 0);
    return n > 0 ? std::string(text, static_cast<size_t>(n)) : "";
}

FileData whole(uint64_t handle, std::string_view text) {
    return {.handle = handle, .offset = 0, .error = 0, .last = true, .data = std::as_bytes(std::span(text))};
}

}  // namespace

TEST_CASE("home is told of every file that it isn't needed any more") {
    Fixture f;
    Contents contents(*f.node, std::nullopt);
    int came = 0;
    contents.want({.handle = 7, .bytes = 0}, [&](Result<SharedFd> file) { came += file.has_value(); });
    CHECK(came == 1);
    CHECK(f.next() == std::pair(FrameType::file_done, uint64_t{7}));

    std::string why;
    contents.want({.handle = 8, .bytes = 5ull << 29}, [&](Result<SharedFd> file) { why = file.error().what; });
    CHECK(why == "the file has 2.5 GiB, and more than 2 can't be fetched for a mapping");
    CHECK(f.next() == std::pair(FrameType::file_done, uint64_t{8}));

    contents.want({.handle = 9, .bytes = 3}, [&](Result<SharedFd> file) { came += text_of(*file) == "abc"; });
    CHECK(f.next().first == FrameType::file_get);
    CHECK(contents.on_data(1, whole(9, "abc")));
    CHECK(came == 2);
    CHECK(f.next() == std::pair(FrameType::file_done, uint64_t{9}));
}

TEST_CASE("a cache that can't store leaves a copy of one's own") {
    Fixture f;
    auto pair = cache_socketpair();
    REQUIRE(pair);
    std::thread daemon([socket = std::move(pair->first)] {
        for (auto answer : {CacheOutcome::none, CacheOutcome::refused}) {
            auto packet = receive_packet(socket.get(), 0);
            if (!packet || !*packet) return;
            CacheAnswer what{answer, answer == CacheOutcome::refused ? "no room" : ""};
            (void)send_packet(socket.get(), what.encode(), -1, 0);
        }
    });
    Contents contents(*f.node, CacheClient(std::move(pair->second)));
    FileKey key{.handle = 3, .device = 1, .inode = 2, .bytes = 3, .cacheable = true};
    int came = 0;
    auto done = [&](Result<SharedFd> file) { came += file && text_of(*file) == "abc"; };
    contents.want(key, done);
    CHECK(f.next().first == FrameType::file_get);
    CHECK(contents.on_data(1, whole(3, "abc")));
    CHECK(came == 1);
    daemon.join();
    contents.want(key, done);          // remembered
    CHECK(came == 2);
}
