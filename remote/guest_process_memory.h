// A guest's memory as the worker reaches it.
#pragma once
#include "protocol/guest_memory.h"
#include "protocol/unique_fd.h"
#include "remote/lazy_space.h"
#include <optional>

namespace omx {

// One per process. Works through whichever thread is calling: a leader that has ended has no memory any more, while
// the other threads go on.
class ProcessMemory : public GuestMemory {
public:
    void through(HomeTid tid) { tid_ = tid; }
    // After exec: /proc/PID/maps of the old memory is no use.
    void replaced(std::shared_ptr<LazySpace> space) { maps_.reset(), space_ = std::move(space); }
    void never_query() { has_query_ = false; }

    size_t read(GuestAddr from, std::span<std::byte> out) override;
    size_t write(GuestAddr to, View in) override;
    size_t writable(GuestAddr at, size_t bytes) override;

    // Writes even where the guest itself may not (private mappings), as a debugger does. All or nothing.
    bool write_forced(GuestAddr to, View in);

    // A part of a big file that is mapped but hasn't come from home yet (lazy_files.h).
    struct Missing {
        std::shared_ptr<LazyFile> file;
        uint64_t from, end;
    };
    // Of such a file: what is mapped at this address and so far behind it.
    std::optional<Missing> lazily_mapped(GuestAddr at, uint64_t bytes = 1);
    // What a read or a check for writability since the last time met; it is not for the guest to see.
    std::optional<Missing> take_missing() { return std::exchange(missing_, std::nullopt); }

private:
    struct Mapping { uint64_t start, end; bool writable; uint64_t device, inode, offset; };
    void look_for_missing(uint64_t at, uint64_t bytes);
    bool mapping_at(uint64_t address, Mapping&);     // the one that covers it
    bool mapping_from_text(uint64_t address, Mapping&);

    HomeTid tid_;
    UniqueFd maps_;
    std::shared_ptr<LazySpace> space_;
    std::optional<Missing> missing_;
    bool has_query_ = true;                          // PROCMAP_QUERY, Linux 6.11
};

// For calls that the node's kernel will run again: what home's kernel would write is not written.
class UnwrittenMemory : public GuestMemory {
public:
    explicit UnwrittenMemory(GuestMemory& inner) : inner_(inner) {}
    size_t read(GuestAddr from, std::span<std::byte> out) override { return inner_.read(from, out); }
    size_t write(GuestAddr, View in) override { return in.size(); }
    size_t writable(GuestAddr at, size_t bytes) override { return inner_.writable(at, bytes); }
private:
    GuestMemory& inner_;
};

}  // namespace omx
