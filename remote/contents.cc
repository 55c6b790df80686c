#include "remote/contents.h"
#include "remote/debug.h"
#include <algorithm>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace omx {
namespace {

constexpr size_t kMemoEntries = 256;

Result<UniqueFd> fresh_memfd() {
    UniqueFd fd(memfd_create("omxsup", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd) return fail_errno("memfd_create");
    return fd;
}

// Sealed, and through a descriptor that was opened read-only: a guest can't mprotect its mapping writable and change
// what others map (kernels before 6.7 refuse even read-only shared mappings of a sealed file opened for writing).
Result<UniqueFd> seal(UniqueFd file) {
    constexpr int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (fcntl(file.get(), F_ADD_SEALS, seals) < 0) return fail_errno("sealing a memfd");
    UniqueFd reader(open(fmt::format("/proc/self/fd/{}", file.get()).c_str(), O_RDONLY | O_CLOEXEC));
    if (!reader) return fail_errno("opening a memfd read-only");
    return reader;
}

}  // namespace

Contents::Contents(Link& link, std::optional<CacheClient> cache, std::optional<BigPageFiles> big_pages)
    : link_(link), cache_(std::move(cache)), big_pages_(std::move(big_pages)) {}

SharedFd Contents::known(const FileKey& key) {
    if (!key.cacheable) return nullptr;
    auto it = std::ranges::find_if(memo_, [&](auto& m) { return m.first.same_content(key); });
    if (it != memo_.end()) {
        std::rotate(it, it + 1, memo_.end());
        return memo_.back().second;
    }
    if (!cache_) return nullptr;
    auto found = cache_->find(key);
    if (!found) {
        OMX_DEBUG("file cache: {}", found.error().what);
        cache_.reset();                                  // the daemon is gone or confused: do without
        return nullptr;
    }
    if (!*found) return nullptr;
    auto shared = std::make_shared<const UniqueFd>(std::move(*found));
    remember(key, shared);
    return shared;
}

void Contents::remember(const FileKey& key, SharedFd file) {
    if (memo_.size() >= kMemoEntries) memo_.erase(memo_.begin());
    memo_.emplace_back(key, std::move(file));
}

const FileKey* Contents::file_of(FileId id) const {
    auto it = by_file_.find(id);
    return it == by_file_.end() ? nullptr : &it->second;
}

void Contents::note_file(const FileKey& key, const SharedFd& file) {
    struct stat st;
    if (fstat(file->get(), &st) == 0) by_file_.insert_or_assign(FileId{st.st_dev, st.st_ino}, key);
}

void Contents::want(const FileKey& key, Done done) {
    if (auto file = known(key)) {
        link_.send(FrameType::file_done, 0, FileDone{key.handle});
        note_file(key, file);
        return done(std::move(file));
    }
    for (auto& [id, f] : fetches_) {
        if (!key.cacheable || !f.key.cacheable || !f.key.same_content(key)) continue;
        link_.send(FrameType::file_done, 0, FileDone{key.handle});
        f.waiting.push_back(std::move(done));
        return;
    }
    Fetch fetch{.key = key, .file = {}, .received = 0, .waiting = {}};
    fetch.waiting.push_back(std::move(done));
    if (key.bytes > kMaxFileBytes)
        return fail_all(fetch, {fmt::format("the file has {:.1f} GiB, and more than {} can't be fetched for a mapping",
                                            static_cast<double>(key.bytes) / (1 << 30), kMaxFileBytes >> 30), EFBIG});
    auto file = fresh_file(key.bytes);
    if (!file) return fail_all(fetch, file.error());
    fetch.file = std::move(*file);
    if (key.bytes == 0) return finish(fetch);
    auto id = next_request_++;
    OMX_DEBUG("fetching {} bytes of inode {} as request {}", key.bytes, key.inode, id);
    fetches_.emplace(id, std::move(fetch));
    link_.send(FrameType::file_get, id, FileGet{key.handle, 0, key.bytes});
}

Status Contents::on_data(uint64_t request, const FileData& data) {
    auto it = fetches_.find(request);
    if (it == fetches_.end()) return {};                                     // given up meanwhile
    auto& f = it->second;
    if (data.handle != f.key.handle || data.offset != f.received || data.data.size() > f.key.bytes - f.received)
        return fail("home sent a piece of a file that nobody asked for");
    bool failed = data.error != 0;
    Error why =
        failed ? Error{fmt::format("home can't read the file: {}", std::strerror(data.error)), data.error} : Error{};
    if (!failed && pwrite(f.file.writer.get(), data.data.data(), data.data.size(), static_cast<off_t>(f.received)) !=
                       static_cast<ssize_t>(data.data.size())) {
        failed = true;
        why = {fmt::format("this node has no room for a file of {} bytes: {}", f.key.bytes, std::strerror(errno)),
               errno};
    }
    f.received += data.data.size();
    if (!failed && !data.last) return {};
    auto fetch = std::move(f);
    fetches_.erase(it);
    if (failed) fail_all(fetch, why);
    else finish(fetch);
    return {};
}

void Contents::finish(Fetch& f) {
    auto file = sealed(f.key, std::move(f.file), f.received == f.key.bytes);
    if (!file) return fail_all(f, file.error());
    link_.send(FrameType::file_done, 0, FileDone{f.key.handle});
    note_file(f.key, *file);
    for (auto& done : f.waiting) done(*file);
}

void Contents::fail_all(Fetch& f, const Error& why) {
    link_.send(FrameType::file_done, 0, FileDone{f.key.handle});
    for (auto& done : f.waiting) done(std::unexpected(why));
}

// A memfd has no reader before it is sealed.
Result<BigPageFiles::File> Contents::fresh_file(uint64_t bytes) const {
    if (big_pages_)
        if (auto file = big_pages_->make(bytes)) return file;
    auto file = fresh_memfd();
    if (!file) return std::unexpected(file.error());
    return BigPageFiles::File{.writer = std::move(*file), .reader = {}};
}

// A file that turned out shorter than its key says has changed since: it is used as it came, but never found again.
// Nobody waits for the cache, which makes of it what it can: hashing takes as long as a fast network.
Result<SharedFd> Contents::sealed(const FileKey& key, BigPageFiles::File file, bool complete) {
    auto reader = file.reader ? std::move(file.reader) : seal(std::move(file.writer));
    if (!reader) return std::unexpected(reader.error());
    auto shared = std::make_shared<const UniqueFd>(std::move(*reader));
    if (!key.cacheable || !complete) return shared;
    if (cache_ && !cache_->begin_store(key, *shared)) cache_.reset();      // the daemon is gone: do without
    remember(key, shared);
    return shared;
}

Result<UniqueFd> sealed_zeroes(uint64_t bytes) {
    auto file = fresh_memfd();
    if (!file) return file;
    if (ftruncate(file->get(), static_cast<off_t>(bytes)) < 0) return fail_errno("a memfd of zeroes");
    return seal(std::move(*file));
}

}  // namespace omx
