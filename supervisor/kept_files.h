// The files that processes of the job have mapped on a node, kept open at home: a process that comes home maps them
// again, whatever has become of their names. Natively a mapping keeps its file alive just so.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "protocol/frames.h"
#include "protocol/unique_fd.h"

namespace omx {

// What a descriptor of ours is open on, as the kernel calls it.
std::string link_of_descriptor(int fd);

class KeptFiles {
public:
    // `fd` is open on the file of that key. Without effect if it can't be opened once more for reading: an open file
    // of the process's own must not live longer than natively (its locks, its right to write).
    void keep(HomePid, const FileKey&, int fd);
    void inherit(HomePid parent, HomePid child);
    void forget(HomePid);
    // -1: not kept.
    int find(HomePid, const FileKey&) const;
    // What the kernel calls it now, as in /proc/PID/maps. Empty: not kept.
    std::string path_of(HomePid, uint64_t device, uint64_t inode) const;

private:
    using Identity = std::tuple<uint64_t, uint64_t, int64_t, int64_t, uint64_t>;
    static Identity identity(const FileKey& k) { return {k.device, k.inode, k.mtime_ns, k.ctime_ns, k.bytes}; }
    using Files = std::map<Identity, std::shared_ptr<UniqueFd>>;
    std::unordered_map<HomePid, std::shared_ptr<Files>> of_;    // a forked child's is its parent's until one maps more
    std::map<Identity, std::weak_ptr<UniqueFd>> open_;
};

}  // namespace omx
