// Files that guests have mapped shared, the node's half: one memfd per file for all guests of the job here, which they
// map as they would map the file, and its twin (protocol/twin.h). Home has the file itself (supervisor/shared_files.h).
#pragma once
#include "protocol/link.h"
#include "remote/contents.h"
#include <map>

namespace omx {

class SharedCopies {
public:
    struct File {
        FileKey key;
        SharedFd memfd, reader;                  // for guests that may write to the file, and for those that may not
        const std::byte* memory = nullptr;       // kMaxSharedBytes of it, for us to look at
        uint64_t inode = 0;                      // of the memfd
        Twin twin;
        uint64_t number = 0;                     // of the last frame of home's that has been seen
        uint32_t grants = 0;                     // of home's
        bool writable = false, readable = false; // guests have been given the one, the other
        ~File();
    };
    explicit SharedCopies(Link& link) : link_(link) {}

    // Home's answer to an mmap: this file, with this content if it is a new one here.
    Result<File*> take(const FileKey&, const SharedGrant&);
    // What guests have changed, onto the link. True if there was anything.
    bool tell();
    Status on_changes(const SharedFrame&);
    // No guest has it mapped any more.
    void done(uint64_t handle);
    // While somebody has mapped it by a descriptor with which he may write, the kernel refuses to seal it. That it
    // can't be written once it is sealed is no harm then: nobody has it any more.
    static bool sealed_off(const File&);

    bool empty() const { return files_.empty(); }
    const auto& files() const { return files_; }
    const File* find(uint64_t handle) const;
    const File* of_inode(uint64_t inode) const;

private:
    static Status make(File&, View content);
    bool tell(File&);
    Link& link_;
    std::map<uint64_t, std::unique_ptr<File>> files_;       // by handle
};

}  // namespace omx
