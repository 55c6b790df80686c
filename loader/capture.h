// Taking the image of a stopped process at home.
#pragma once
#include "loader/image.h"
#include "protocol/unique_fd.h"
#include <compare>
#include <functional>
#include <sys/sysmacros.h>

namespace omx {

// A file that the image maps, opened read-only on the very inode that is mapped; the callee keeps it and gives its key.
using FileRegistrar = std::function<Result<FileKey>(UniqueFd file, const std::string& path)>;

// Captures `pid`, which is in a ptrace stop right after a successful execve (system-call-exit stop), with one thread.
// Reads /proc/PID/{maps,pagemap,mem,stat,status,auxv,comm}. Nothing in the process changes.
// An error says why it can't leave (32-bit program, unknown mapping …).
Result<Image> capture_exec(HomePid pid, const FileRegistrar&);

// One line of /proc/PID/maps.
struct FileId {
    uint64_t device, inode;     // as stat says it
    auto operator<=>(const FileId&) const = default;
};

struct MapsEntry {
    uint64_t start, end, offset;
    uint32_t prot;              // PROT_* bits
    bool shared;
    uint32_t dev_major, dev_minor;
    uint64_t inode;
    std::string path;
    uint32_t traits = 0;        // see image.h; of /proc/PID/smaps only

    FileId id() const { return {makedev(dev_major, dev_minor), inode}; }
};
Result<std::vector<MapsEntry>> parse_maps(std::string_view text);
// /proc/PID/smaps: the same lines, each with fields behind it.
Result<std::vector<MapsEntry>> parse_smaps(std::string_view text);
// Of a task of this machine, now; none if it has ended.
std::vector<MapsEntry> maps_of(HomeTid);

// fstat plus the racy-git rule; regular files only. handle is 0, the caller sets it.
Result<FileKey> key_of(int fd);

}  // namespace omx
