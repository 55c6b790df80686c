// Contents of home's files, as files that can be mapped: from this worker's memo, from the node's cache, or from home.
#pragma once
#include "loader/capture.h"
#include "loader/file_cache.h"
#include "protocol/link.h"
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>

namespace omx {

using SharedFd = std::shared_ptr<const UniqueFd>;

class Contents {
public:
    // A whole file is fetched before it is mapped: so there is an end to it (bigger ones: lazy_files.h).
    static constexpr uint64_t kMaxFileBytes = 2ull << 30;
    using Done = std::function<void(Result<SharedFd>)>;
    Contents(Link&, std::optional<CacheClient>, std::optional<BigPageFiles> = {});

    // `done` is called when the content is here: before want() returns if it was on this node, else from on_data().
    void want(const FileKey&, Done done);
    Status on_data(uint64_t request, const FileData&);
    SharedFd known(const FileKey&);                       // if it is on this node, as a whole
    // Which file's content is in this one; nullptr: it came from nowhere here.
    const FileKey* file_of(FileId) const;

private:
    struct Fetch {
        FileKey key;
        BigPageFiles::File file;
        uint64_t received = 0;
        std::vector<Done> waiting;
    };
    void remember(const FileKey&, SharedFd);
    void note_file(const FileKey&, const SharedFd&);
    void finish(Fetch&);
    void fail_all(Fetch&, const Error&);
    Result<BigPageFiles::File> fresh_file(uint64_t bytes) const;
    Result<SharedFd> sealed(const FileKey&, BigPageFiles::File, bool complete);

    Link& link_;
    std::optional<CacheClient> cache_;
    std::optional<BigPageFiles> big_pages_;
    std::vector<std::pair<FileKey, SharedFd>> memo_;       // contents used last are at the end
    std::unordered_map<uint64_t, Fetch> fetches_;
    std::map<FileId, FileKey> by_file_;                    // of every content that was given out
    uint64_t next_request_ = 1;
};

// A memfd of `bytes` zeroes that nobody can change.
Result<UniqueFd> sealed_zeroes(uint64_t bytes);

}  // namespace omx
