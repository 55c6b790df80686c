// The daemon's side of the file cache. Nothing that a worker says about a content is believed: its size and hash are
// taken from the memfd itself, after it has been sealed against every change, or from a copy of our own.
#include "loader/file_cache.h"
#include "loader/cache_socket.h"
#include <algorithm>
#include <compare>
#include <fcntl.h>
#include <linux/magic.h>
#include <list>
#include <map>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

namespace omx {

namespace {

constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
constexpr size_t kMaxIdentities = 65536;       // some 150 bytes each; a worker may name as many as it likes
constexpr size_t kMaxContents = 4096;          // each holds a descriptor of the daemon
constexpr uint64_t kPageBytes = 4096;
constexpr size_t kPieceBytes = 256u << 10;     // read at once

using Hash = std::array<unsigned char, 32>;

// Which file of which user of which home, in which state: equal ones have equal contents.
struct Identity {
    std::string owner;
    uint64_t device = 0, inode = 0, bytes = 0;
    int64_t mtime_ns = 0, ctime_ns = 0;
    auto operator<=>(const Identity&) const = default;

    static Identity of(const std::string& owner, const FileKey& k) {
        return {owner, k.device, k.inode, k.bytes, k.mtime_ns, k.ctime_ns};
    }
};

struct Content {
    Hash hash{};
    UniqueFd file;              // read-only; nobody can change it
    uint64_t held_bytes = 0;
};

// A new open file description: whoever gets it shares no offset with others and can't write to it.
Result<UniqueFd> reopen(int fd) {
    UniqueFd fresh(open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fresh) return fail_errno("opening a cached file again, read-only");
    return fresh;
}

Status check_kind(int fd) {
    // Files of hugetlbfs can't be mapped at every offset a guest may want.
    struct statfs system{};
    struct stat status{};
    if (fstatfs(fd, &system) != 0 || system.f_type != TMPFS_MAGIC || fstat(fd, &status) != 0 ||
        !S_ISREG(status.st_mode))
        return fail("the content to be cached is not a memfd");
    return {};
}

Status seal(int fd) {
    int present = fcntl(fd, F_GET_SEALS);
    if (present >= 0 && (present & kSeals) == kSeals) return {};
    if (fcntl(fd, F_ADD_SEALS, kSeals) == 0) return {};
    if (errno == EBUSY) return fail("the content to be cached is still mapped writable somewhere: unmap it first");
    if (errno == EPERM) return fail("the content to be cached can't be sealed: make the memfd with MFD_ALLOW_SEALING");
    return fail_errno("sealing the content to be cached");
}

// `take` gets a content piece by piece.
template <class Take> Status read_through(int fd, uint64_t bytes, Take take) {
    auto piece = std::make_unique_for_overwrite<std::byte[]>(kPieceBytes);
    for (uint64_t at = 0; at < bytes;) {
        auto got = pread(fd, piece.get(), std::min<uint64_t>(kPieceBytes, bytes - at), static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_errno("reading the content to be cached");
        if (got == 0) return fail("the content to be cached ended early");
        OMX_TRY(take(View(piece.get(), static_cast<size_t>(got)), at));
        at += static_cast<uint64_t>(got);
    }
    return {};
}

// Each piece is also handed to `also`, which thus gets exactly what is hashed, whatever happens to the file meanwhile.
template <class Also> Result<Hash> hash_of(int fd, uint64_t bytes, Also also) {
    struct FreeContext { void operator()(EVP_MD_CTX* c) const { EVP_MD_CTX_free(c); } };
    std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
    if (!context || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) return fail("SHA-256 is missing");
    OMX_TRY(read_through(fd, bytes, [&](View piece, uint64_t at) -> Status {
        if (EVP_DigestUpdate(context.get(), piece.data(), piece.size()) != 1) return fail("SHA-256 failed");
        return also(piece, at);
    }));
    Hash hash;
    if (EVP_DigestFinal_ex(context.get(), hash.data(), nullptr) != 1) return fail("SHA-256 failed");
    return hash;
}

// A content that nobody can change any more, by a descriptor that can't write.
struct Taken {
    Hash hash;
    UniqueFd file;
};

Result<Taken> copy_in_big_pages(const BigPageFiles& files, int fd, uint64_t bytes) {
    auto copy = files.make(bytes);
    if (!copy) return std::unexpected(copy.error());
    auto hash = hash_of(fd, bytes, [&](View piece, uint64_t at) -> Status {
        auto put = pwrite(copy->writer.get(), piece.data(), piece.size(), static_cast<off_t>(at));
        return put == static_cast<ssize_t>(piece.size()) ? Status() : fail_errno("no room for a copy in big pages");
    });
    if (!hash) return std::unexpected(hash.error());
    return Taken{*hash, std::move(copy->reader)};
}

// The daemon needs descriptors for more than this: at most a quarter of what it may have.
size_t content_limit() {
    rlimit files{};
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) return 64;
    return std::clamp<size_t>(files.rlim_cur / 4, 16, kMaxContents);
}

}  // namespace

struct FileCache::Impl {
    const uint64_t limit_bytes;
    const size_t max_contents = content_limit();
    uint64_t held_bytes = 0;
    std::list<Content> contents;                              // most recently used first
    std::map<Hash, std::list<Content>::iterator> by_hash;
    std::map<Identity, Hash> by_identity;                     // may name contents that have been dropped since
    std::list<std::map<Identity, Hash>::iterator> oldest;     // identities in the order they came

    const std::optional<BigPageFiles> big_pages;

    Impl(uint64_t limit, std::optional<BigPageFiles> files) : limit_bytes(limit), big_pages(std::move(files)) {}
    Result<UniqueFd> find(const Identity&);
    Result<UniqueFd> store(const std::string& owner, const FileKey&, int file);
    Result<UniqueFd> use(std::list<Content>::iterator);
    Result<Taken> take(int file, uint64_t bytes, const Status& sealed) const;
    void drop(std::list<Content>::iterator);
    void remember(Identity, const Hash&);
};

void FileCache::Impl::drop(std::list<Content>::iterator content) {
    held_bytes -= content->held_bytes;
    by_hash.erase(content->hash);
    contents.erase(content);
}

// What its worker could still change counts as what it is when it is copied. What was sealed is safe as it is; a copy is
// quicker to map for all who come later.
Result<Taken> FileCache::Impl::take(int file, uint64_t bytes, const Status& sealed) const {
    if (big_pages)
        if (auto copy = copy_in_big_pages(*big_pages, file, bytes); copy || !sealed) return copy;
    if (!sealed) return std::unexpected(sealed.error());
    auto hash = hash_of(file, bytes, [](View, uint64_t) { return Status(); });
    if (!hash) return std::unexpected(hash.error());
    auto reader = reopen(file);
    if (!reader) return std::unexpected(reader.error());
    return Taken{*hash, std::move(*reader)};
}

// Hands a content out and makes it the most recent. A worker may have taken away its permissions (it made the memfd):
// then it is of no use to anybody.
Result<UniqueFd> FileCache::Impl::use(std::list<Content>::iterator content) {
    auto file = reopen(content->file.get());
    if (file) contents.splice(contents.begin(), contents, content);
    else drop(content);
    return file;
}

// An invalid descriptor: not here.
Result<UniqueFd> FileCache::Impl::find(const Identity& identity) {
    auto known = by_identity.find(identity);
    if (known == by_identity.end()) return UniqueFd();
    auto content = by_hash.find(known->second);
    if (content == by_hash.end()) return UniqueFd();
    auto file = use(content->second);
    return file ? std::move(file) : UniqueFd();
}

void FileCache::Impl::remember(Identity identity, const Hash& hash) {
    auto [place, is_new] = by_identity.insert_or_assign(std::move(identity), hash);
    if (is_new) oldest.push_back(place);
    if (oldest.size() <= kMaxIdentities) return;
    by_identity.erase(oldest.front());
    oldest.pop_front();
}

Result<UniqueFd> FileCache::Impl::store(const std::string& owner, const FileKey& key, int file) {
    OMX_TRY(check_kind(file));
    auto sealed = seal(file);
    if (!sealed && !big_pages) return std::unexpected(sealed.error());
    struct stat status{};
    if (fstat(file, &status) != 0) return fail_errno("fstat of the content to be cached");
    auto bytes = static_cast<uint64_t>(status.st_size);
    if (bytes != key.bytes)
        return fail(fmt::format("the content to be cached has {} bytes, its key says {}", bytes, key.bytes));
    // At least a page: empty files cost as much.
    auto held = std::max(kPageBytes, (bytes + kPageBytes - 1) / kPageBytes * kPageBytes);
    if (!key.cacheable || held > limit_bytes) {                         // sealed, but nobody else will find it
        if (!sealed) return std::unexpected(sealed.error());
        return reopen(file);
    }
    auto taken = take(file, bytes, sealed);
    if (!taken) return std::unexpected(taken.error());
    auto& hash = taken->hash;
    if (auto known = by_hash.find(hash); known != by_hash.end()) {
        if (auto canonical = use(known->second)) {
            remember(Identity::of(owner, key), hash);
            return canonical;
        }
    }
    while (!contents.empty() && (held_bytes + held > limit_bytes || contents.size() >= max_contents))
        drop(std::prev(contents.end()));
    contents.push_front({hash, std::move(taken->file), held});
    by_hash[hash] = contents.begin();
    held_bytes += held;
    remember(Identity::of(owner, key), hash);
    return use(contents.begin());
}

FileCache::FileCache(uint64_t limit_bytes, std::optional<BigPageFiles> big_pages)
    : impl_(std::make_unique<Impl>(limit_bytes, std::move(big_pages))) {}
FileCache::~FileCache() = default;
uint64_t FileCache::bytes_held() const { return impl_->held_bytes; }
size_t FileCache::contents_held() const { return impl_->contents.size(); }

Status FileCache::serve(int socket, const std::string& owner) {
    auto packet = receive_packet(socket, MSG_DONTWAIT);
    if (!packet) return std::unexpected(packet.error());
    if (!*packet) return {};
    auto request = CacheRequest::decode((*packet)->data);
    if (!request) return std::unexpected(request.error());

    Result<UniqueFd> file;
    bool store = request->operation == CacheOperation::store;
    if (!store) file = request->key.cacheable ? impl_->find(Identity::of(owner, request->key)) : UniqueFd();
    else if ((*packet)->files_lost) file = fail("the node daemon has no descriptor left for the content to be cached");
    else if (!(*packet)->file) file = fail("no content came with the request to store it");
    else file = impl_->store(owner, request->key, (*packet)->file.get());

    CacheAnswer answer;
    if (!file) answer = {CacheOutcome::refused, file.error().what};
    else if (*file) answer.outcome = CacheOutcome::content;
    // A worker that doesn't take its answers is dropped, not waited for.
    return send_packet(socket, answer.encode(), file ? file->get() : -1, MSG_DONTWAIT);
}

Result<std::pair<UniqueFd, UniqueFd>> cache_socketpair() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno("file cache: socketpair");
    return std::pair(UniqueFd(ends[0]), UniqueFd(ends[1]));
}

}  // namespace omx
