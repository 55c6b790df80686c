// Files that guests have mapped shared while they are away, home's half: the real file, mapped here as well, and its
// twin. What the node's guests have changed is stored into it before anything that they have said later is done; what
// anybody has changed here is told ahead of every answer. The descriptor is a copy of the guest's own, as a mapping of
// its own would hold it: locks, the right to write, the life of a file without a name are as natively.
#pragma once
#include <map>
#include <optional>

#include "protocol/link.h"
#include "protocol/unique_fd.h"

namespace omx {

class SharedFiles {
public:
    struct File {
        uint64_t handle = 0, device = 0, inode = 0;
        UniqueFd fd;
        bool writable = false;
        std::byte* memory = nullptr;             // kMaxSharedBytes of it, however long it is
        Twin twin;
        uint64_t number = 0;                     // frames sent of it
        uint32_t grants = 0;
        bool being_granted = false;              // the answer that has its content is about to leave
        int watch = -1;                          // of inotify
        bool opened = false;                     // by somebody, who may map it, since it was looked at
        bool over = false;                       // who has it mapped has been told to come home
        std::vector<uint64_t> changed_in;        // for each byte: the frame in which home last told of it
        ~File();
    };

    // `file` is a guest's own descriptor, with which it has just mapped `file` shared. An error says why it can't be
    // shared with a node. `next_handle` is used up if the file is a new one.
    Result<File*> share(UniqueFd file, bool executable, uint64_t& next_handle);
    // The answer to that mmap, content included; `writable`: by this descriptor. Until `granted` nothing is told of it.
    Bytes grant(File&, bool writable);
    static void granted(File& f) { f.being_granted = false; }

    // What has changed at home, onto the link.
    void tell(Link&);
    Status on_changes(const SharedFrame&);
    void on_done(const SharedDone&);
    // Who has it mapped on the node must come home.
    static void end(File&, Link&, const std::string& reason);
    // msync of a file, or (0) of all. A result of the kernel's.
    int64_t sync(uint64_t handle, int flags) const;

    // What happens to these files here while no answer is due: readable when one has been changed or opened (inotify).
    // -1: nothing to watch yet, or the kernel has no more of these.
    int events() const { return events_.get(); }
    // True: somebody has opened one. Once he has had the time to map it: look_at_opened.
    bool on_events(Link&);
    void look_at_opened(Link&);

    bool empty() const { return files_.empty(); }
    File* find(uint64_t handle);
    File* find(uint64_t device, uint64_t inode);

private:
    void watch(File&);
    UniqueFd events_;
    std::map<uint64_t, std::unique_ptr<File>> files_;       // by handle
};

}  // namespace omx
