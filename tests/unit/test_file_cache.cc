#include "loader/cache_socket.h"
#include "loader/file_cache.h"
#include "remote/sandbox.h"
#include <dirent.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <map>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>

using namespace omx;

namespace {

constexpr uint64_t kLimit = 1u << 20;

UniqueFd memfd(std::string_view content, unsigned flags = MFD_ALLOW_SEALING) {
    UniqueFd fd(memfd_create("test", flags | MFD_CLOEXEC));
    REQUIRE(fd);
    REQUIRE(write(fd.get(), content.data(), content.size()) == static_cast<ssize_t>(content.size()));
    return fd;
}

FileKey key(uint64_t inode, uint64_t bytes, bool cacheable = true) {
    return {.handle = 99, .device = 1, .inode = inode, .bytes = bytes, .mtime_ns = 5, .ctime_ns = 6,
            .cacheable = cacheable};
}

std::string content_of(int fd) {
    std::string text(1u << 16, 0);
    auto got = pread(fd, text.data(), text.size(), 0);
    text.resize(got < 0 ? 0 : static_cast<size_t>(got));
    return text;
}

bool same_file(int a, int b) {
    struct stat x{}, y{};
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int open_descriptors() {
    int count = 0;
    auto* directory = opendir("/proc/self/fd");
    while (readdir(directory)) ++count;
    closedir(directory);
    return count;
}

// A daemon thread's place is taken by a call: each client request is served by a thread for just that long.
struct Worker {
    FileCache& cache;
    std::string owner;
    UniqueFd daemon_end;
    std::unique_ptr<CacheClient> client;

    explicit Worker(FileCache& c, std::string o = "1000@boot") : cache(c), owner(std::move(o)) {
        auto pair = cache_socketpair();
        REQUIRE(pair);
        daemon_end = std::move(pair->first);
        client = std::make_unique<CacheClient>(std::move(pair->second));
    }
    template <class Ask> Result<UniqueFd> served(Ask ask) {
        Result<UniqueFd> answer;
        std::thread asking([&] { answer = ask(); });
        // serve() does not wait, so peek until the request is here.
        char byte;
        recv(daemon_end.get(), &byte, 1, MSG_PEEK);
        auto status = cache.serve(daemon_end.get(), owner);
        asking.join();
        CHECK(status);
        return answer;
    }
    Result<UniqueFd> find(const FileKey& k) { return served([&] { return client->find(k); }); }
    Result<UniqueFd> store(const FileKey& k, UniqueFd fd) {
        REQUIRE(client->begin_store(k, fd));
        return served([&] { return client->finish_store(); });
    }
    std::string refusal(const FileKey& k, UniqueFd fd) {
        auto stored = store(k, std::move(fd));
        return stored ? "accepted" : stored.error().what;
    }
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("file cache: what was stored is found, sealed and read-only") {
    FileCache cache(kLimit);
    Worker worker(cache);
    auto nothing = worker.find(key(1, 5));
    REQUIRE(nothing);
    CHECK_FALSE(nothing->valid());

    auto stored = worker.store(key(1, 5), memfd("hello"));
    REQUIRE_MESSAGE(stored, stored.error().what);
    auto found = worker.find(key(1, 5));
    REQUIRE(found);
    REQUIRE(found->valid());
    CHECK(same_file(stored->get(), found->get()));
    CHECK(content_of(found->get()) == "hello");
    CHECK(cache.bytes_held() == 4096);

    for (int fd : {stored->get(), found->get()}) {
        CHECK((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY);
        CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
        auto* mapped = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
        REQUIRE(mapped != MAP_FAILED);
        CHECK(mprotect(mapped, 4096, PROT_READ | PROT_WRITE) != 0);      // nobody edits another job's libc
        munmap(mapped, 4096);
        UniqueFd writable(open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDWR | O_CLOEXEC));
        if (writable) {      // root may open it, and still can't change it
            CHECK(write(writable.get(), "x", 1) < 0);
            CHECK(ftruncate(writable.get(), 0) != 0);
        }
    }
    // Each has an open file description of its own, so an offset is nobody's news.
    CHECK(lseek(stored->get(), 3, SEEK_SET) == 3);
    CHECK(lseek(found->get(), 0, SEEK_CUR) == 0);
}

TEST_CASE("file cache: a copy in big pages is as safe from its holders as what was sealed") {
    auto files = make_big_page_files();
    if (!files) {
        MESSAGE(files.error().what);
        return;
    }
    FileCache cache(64 << 20, std::move(*files));
    Worker worker(cache);
    std::string content(5u << 20, 'x');
    content += "end";
    REQUIRE(worker.store(key(1, content.size()), memfd(content)));
    auto found = worker.find(key(1, content.size()));
    REQUIRE(found->valid());
    int fd = found->get();
    auto* mapped = static_cast<char*>(mmap(nullptr, content.size(), PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0));
    REQUIRE(mapped != MAP_FAILED);
    CHECK(std::string_view(mapped, content.size()) == content);
    munmap(mapped, content.size());
    CHECK(lseek(fd, 0, SEEK_END) == static_cast<off_t>(content.size()));
    auto* shared = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
    REQUIRE(shared != MAP_FAILED);
    CHECK(mprotect(shared, 4096, PROT_READ | PROT_WRITE) != 0);
    munmap(shared, 4096);
    // Root's privileges are not enough, nor the maker's: there is no way to it but the read-only mount.
    auto itself = fmt::format("/proc/self/fd/{}", fd);
    int again = open(itself.c_str(), O_RDWR | O_CLOEXEC), why = errno;
    CHECK(again < 0);
    CHECK(why == EROFS);
    CHECK(truncate(itself.c_str(), 0) != 0);
    CHECK(fchmod(fd, 0777) != 0);
}

TEST_CASE("file cache: what a worker keeps in big pages of its own is copied: it could change it later") {
    auto workers = make_big_page_files(), daemons = make_big_page_files();
    if (!workers || !daemons) {
        MESSAGE("no big pages here");
        return;
    }
    FileCache cache(64 << 20, std::move(*daemons));
    Worker worker(cache);
    auto mine = workers->make(4);
    REQUIRE(mine);
    REQUIRE(pwrite(mine->writer.get(), "good", 4, 0) == 4);
    REQUIRE(worker.store(key(1, 4), UniqueFd(dup(mine->reader.get()))));
    REQUIRE(pwrite(mine->writer.get(), "evil", 4, 0) == 4);
    auto found = worker.find(key(1, 4));
    REQUIRE(found->valid());
    CHECK(content_of(found->get()) == "good");
    CHECK_FALSE(same_file(found->get(), mine->reader.get()));
    CHECK(has(worker.refusal(key(2, 4, false), UniqueFd(dup(mine->reader.get()))), "can't be sealed"));
}

TEST_CASE("file cache: one content, many names, each only its owner's") {
    FileCache cache(kLimit);
    Worker anna(cache, "1000@home1"), bert(cache, "1001@home1");
    auto first = anna.store(key(1, 4), memfd("same"));
    auto stolen = bert.find(key(1, 4));      // Anna's file, by its identity alone
    REQUIRE(stolen);
    CHECK_FALSE(stolen->valid());
    auto second = bert.store(key(77, 4), memfd("same"));
    REQUIRE(first);
    REQUIRE(second);
    CHECK(same_file(first->get(), second->get()));
    CHECK(cache.contents_held() == 1);
    auto other = anna.store(key(2, 4), memfd("diff"));
    REQUIRE(other);
    CHECK_FALSE(same_file(first->get(), other->get()));
    CHECK(cache.contents_held() == 2);

    // The same name with a new content, as after a poisoned or a changed file, hides the old one only for its owner.
    auto newer = bert.store(key(77, 4), memfd("evil"));
    REQUIRE(newer);
    CHECK(content_of(bert.find(key(77, 4))->get()) == "evil");
    CHECK(content_of(anna.find(key(1, 4))->get()) == "same");
}

TEST_CASE("file cache: every part of the identity counts") {
    FileCache cache(kLimit);
    Worker worker(cache);
    auto k = key(1, 1);
    REQUIRE(worker.store(k, memfd("x")));
    for (auto change : {0, 1, 2, 3, 4}) {
        auto other = k;
        if (change == 0) ++other.device;
        if (change == 1) ++other.inode;
        if (change == 2) ++other.bytes;
        if (change == 3) ++other.mtime_ns;
        if (change == 4) ++other.ctime_ns;
        CHECK_FALSE(worker.find(other)->valid());
    }
    k.handle = 12345;      // a handle lives shorter than a content
    CHECK(worker.find(k)->valid());
}

TEST_CASE("file cache: what is not cacheable is sealed and forgotten") {
    FileCache cache(kLimit);
    Worker worker(cache);
    auto stored = worker.store(key(1, 4, false), memfd("racy"));
    REQUIRE(stored);
    CHECK((fcntl(stored->get(), F_GET_SEALS) & F_SEAL_WRITE) != 0);
    CHECK((fcntl(stored->get(), F_GETFL) & O_ACCMODE) == O_RDONLY);
    CHECK(cache.contents_held() == 0);
    auto found = worker.client->find(key(1, 4, false));      // doesn't even ask
    REQUIRE(found);
    CHECK_FALSE(found->valid());
    CHECK_FALSE(worker.find(key(1, 4))->valid());
}

TEST_CASE("file cache: unsuitable contents are refused with the reason") {
    FileCache cache(kLimit);
    Worker worker(cache);
    CHECK(has(worker.refusal(key(1, 5), memfd("four")), "has 4 bytes, its key says 5"));
    CHECK(has(worker.refusal(key(1, 4), memfd("four", 0)), "MFD_ALLOW_SEALING"));

    auto mapped = memfd("four");
    auto* at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, mapped.get(), 0);
    REQUIRE(at != MAP_FAILED);
    CHECK(has(worker.refusal(key(1, 4), std::move(mapped)), "mapped writable"));
    munmap(at, 4096);

    UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    CHECK(has(worker.refusal(key(1, 0), std::move(null)), "not a memfd"));
    CHECK(has(worker.refusal(key(1, 0), UniqueFd()), "no content came"));
    CHECK(cache.contents_held() == 0);
    CHECK(worker.store(key(1, 4), memfd("four")));      // and it still serves
}

TEST_CASE("file cache: the least recently used goes first, and the limit holds") {
    FileCache cache(4 * 4096);
    Worker worker(cache);
    auto page = [](char c) { return std::string(4096, c); };
    for (char c : {'a', 'b', 'c', 'd'}) REQUIRE(worker.store(key(static_cast<uint64_t>(c), 4096), memfd(page(c))));
    CHECK(cache.bytes_held() == 4 * 4096);
    CHECK(worker.find(key('a', 4096))->valid());
    REQUIRE(worker.store(key('e', 4097), memfd(page('e') + "e")));      // two pages
    CHECK(cache.bytes_held() == 4 * 4096);
    CHECK(worker.find(key('a', 4096))->valid());
    CHECK_FALSE(worker.find(key('b', 4096))->valid());
    CHECK_FALSE(worker.find(key('c', 4096))->valid());
    CHECK(worker.find(key('d', 4096))->valid());
    auto big = worker.store(key('f', 5 * 4096), memfd(std::string(5 * 4096, 'f')));      // greater than all of it
    REQUIRE(big);
    CHECK(content_of(big->get()).size() == 5 * 4096);
    CHECK_FALSE(worker.find(key('f', 5 * 4096))->valid());
    CHECK(worker.find(key('d', 4096))->valid());
    CHECK(cache.bytes_held() == 4 * 4096);
}

TEST_CASE("file cache: an empty file is a content too") {
    FileCache cache(kLimit);
    Worker worker(cache);
    auto stored = worker.store(key(1, 0), memfd(""));
    REQUIRE(stored);
    CHECK(worker.find(key(1, 0))->valid());
    CHECK(cache.bytes_held() == 4096);
}

TEST_CASE("file cache: a babbling or dead worker is dropped and leaves nothing behind") {
    FileCache cache(kLimit);
    auto before = open_descriptors();
    {
        auto ends = cache_socketpair();
        REQUIRE(ends);
        auto& [daemon, worker] = *ends;
        CHECK(cache.serve(daemon.get(), "o"));      // nothing there: no error, no wait

        Bytes nonsense;
        SUBCASE("too short") { nonsense = {std::byte{1}}; }
        SUBCASE("unknown operation") {
            nonsense = CacheRequest{CacheOperation::find, key(1, 1)}.encode();
            nonsense[0] = std::byte{9};
        }
        SUBCASE("too long") { nonsense.resize(5000); }
        SUBCASE("trailing bytes") {
            nonsense = CacheRequest{CacheOperation::find, key(1, 1)}.encode();
            nonsense.push_back(std::byte{0});
        }
        auto file = memfd("x");
        REQUIRE(send_packet(worker.get(), nonsense, file.get(), 0));
        CHECK_FALSE(cache.serve(daemon.get(), "o"));

        worker.reset();
        auto gone = cache.serve(daemon.get(), "o");
        REQUIRE_FALSE(gone);
        CHECK(gone.error().code == ECONNRESET);
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("file cache: a worker that takes no answers does not stop the daemon") {
    FileCache cache(kLimit);
    auto ends = cache_socketpair();
    REQUIRE(ends);
    auto ask = CacheRequest{CacheOperation::find, key(1, 1)}.encode();
    Status status;
    int served = 0;
    while (status && served < 100'000) {
        REQUIRE(send_packet(ends->second.get(), ask, -1, MSG_DONTWAIT));
        status = cache.serve(ends->first.get(), "o");
        ++served;
    }
    CHECK_FALSE(status);
}

TEST_CASE("file cache: several descriptors with one request are neither used nor leaked") {
    FileCache cache(kLimit);
    auto before = open_descriptors();
    {
        auto ends = cache_socketpair();
        auto a = memfd("a"), b = memfd("b");
        auto data = CacheRequest{CacheOperation::store, key(1, 1)}.encode();
        iovec piece{data.data(), data.size()};
        alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
        msghdr message{};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        auto part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(2 * sizeof(int));
        int fds[2] = {a.get(), b.get()};
        std::memcpy(CMSG_DATA(part), fds, sizeof fds);
        REQUIRE(sendmsg(ends->second.get(), &message, 0) > 0);
        CHECK(cache.serve(ends->first.get(), "o"));
        auto packet = receive_packet(ends->second.get(), 0);
        REQUIRE(packet);
        auto answer = CacheAnswer::decode((*packet)->data);
        REQUIRE(answer);
        CHECK(answer->outcome == CacheOutcome::refused);
    }
    CHECK(open_descriptors() == before);
    CHECK(cache.contents_held() == 0);
}

TEST_CASE("file cache: a content whose maker takes its permissions away is dropped when it is noticed") {
    if (geteuid() == 0) return;      // root opens it all the same, and then nothing is lost
    FileCache cache(kLimit);
    Worker worker(cache);
    auto mine = memfd("four");
    UniqueFd kept(dup(mine.get()));
    REQUIRE(worker.store(key(1, 4), std::move(mine)));
    REQUIRE(fchmod(kept.get(), 0) == 0);
    CHECK_FALSE(worker.find(key(1, 4))->valid());
    CHECK(worker.store(key(1, 4), memfd("four")));
    CHECK(worker.find(key(1, 4))->valid());
}

TEST_CASE("file cache client: a daemon that is gone is an error, not a signal") {
    auto ends = cache_socketpair();
    REQUIRE(ends);
    CacheClient client(std::move(ends->second));
    ends->first.reset();
    CHECK_FALSE(client.find(key(1, 1)));
    CHECK_FALSE(client.begin_store(key(1, 1), memfd("x")));
}

TEST_CASE("file cache client: nobody waits for what is stored, and its answers are not taken for others") {
    FileCache cache(kLimit);
    Worker worker(cache);
    REQUIRE(worker.client->begin_store(key(1, 4), memfd("four")));
    REQUIRE(worker.client->begin_store(key(2, 5), memfd("four")));         // refused: the size is wrong
    for (int i = 0; i < 2; i++) CHECK(cache.serve(worker.daemon_end.get(), worker.owner));
    auto none = worker.find(key(3, 4)), found = worker.find(key(1, 4));
    REQUIRE((none && found));
    CHECK_FALSE(none->valid());
    CHECK(found->valid());
}
