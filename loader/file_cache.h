// The node's cache of home files: files that nobody can change, found by (user, home, FileKey), stored once per
// content (SHA-256, computed here: S3): copies in big pages, or the sealed memfds that came. The daemon owns it;
// workers ask over a socketpair made before they lock themselves in.
#pragma once
#include "loader/big_page_files.h"
#include "protocol/frames.h"
#include "protocol/unique_fd.h"
#include <memory>
#include <optional>

namespace omx {

class FileCache {
public:
    explicit FileCache(uint64_t limit_bytes, std::optional<BigPageFiles> = {});
    ~FileCache();
    // Serves one request that waits on `socket` (the daemon's end of a worker's socketpair). Requests of a socket act
    // for `owner`, a text naming user and home ("uid@boot_id"). An error: the worker is gone or talks nonsense: drop
    // it. Never blocks on the worker; storing takes the time of hashing the content (at most limit_bytes of it).
    Status serve(int socket, const std::string& owner);
    uint64_t bytes_held() const;       // whole pages; what guests still map of dropped files is not counted
    size_t contents_held() const;
private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};
// A connected pair (SOCK_SEQPACKET): .first for the daemon, .second for the worker.
Result<std::pair<UniqueFd, UniqueFd>> cache_socketpair();

// The worker's side; blocking, one request at a time, but for what is stored.
class CacheClient {
public:
    explicit CacheClient(UniqueFd socket);
    // The file of that content, or an invalid fd when the cache does not hold it.
    Result<UniqueFd> find(const FileKey&);
    // Hands over a freshly filled file of exactly key.bytes: a memfd made with MFD_ALLOW_SEALING and not mapped
    // writable any more, which the daemon seals, or one of BigPageFiles, which it copies. Either is hashed while we
    // go on.
    Status begin_store(const FileKey&, const UniqueFd& content);
    // Waits for the answer to the oldest of those: the canonical file (another home's equal one, perhaps). A memfd that
    // is not cacheable or too big for the cache comes back sealed all the same, but nobody else will find it.
    Result<UniqueFd> finish_store();
private:
    UniqueFd socket_;
    unsigned storing_ = 0;             // not finished: their answers come before all others
};

}  // namespace omx
