// An address space of guests' in which big files are mapped lazily: the userfaultfd through which it tells of the holes
// that it meets. Shared by the processes that share the memory (vfork). The kernel knows where such a file is mapped
// (/proc/PID/maps), so nobody else keeps a record of it: mremap and mprotect need no word with us, munmap one that some
// file may not be needed any more.
#pragma once
#include "remote/lazy_files.h"
#include <span>

namespace omx {

struct MapsEntry;

class LazySpace {
public:
    LazySpace() = default;
    ~LazySpace();
    LazySpace(const LazySpace&) = delete;

    // The userfaultfd that a thread of this space has made as its descriptor `number`. It also stays open there, where
    // the program can't use it (its calls on descriptors are home's): whatever ends first, a hole is never zeroes.
    Status adopt(HomeTid, int number, Loop&, Loop::Handler on_faults);
    bool watching() const { return static_cast<bool>(faults_); }
    int number() const { return number_; }
    Status watch(uint64_t start, uint64_t end);
    struct News {
        std::vector<uint64_t> pages;                       // at which threads wait
        bool unmapped = false;                             // something is no longer mapped
    };
    News take_news();
    void wake(uint64_t page);

    void add(std::shared_ptr<LazyFile>);
    bool empty() const { return files_.empty(); }
    std::shared_ptr<LazyFile> file(uint64_t device, uint64_t inode) const;
    const auto& files() const { return files_; }
    void keep_only_mapped(std::span<const MapsEntry>);     // and what somebody still waits for

    bool refused = false;                                  // it can't be: files are fetched whole

private:
    UniqueFd faults_;
    int number_ = -1;
    Loop* loop_ = nullptr;
    std::vector<std::shared_ptr<LazyFile>> files_;
};


// If this kernel has all that it takes, said by trying.
Status lazy_mappings_work();

}  // namespace omx
