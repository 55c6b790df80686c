// A guest's memory as the worker reaches it.
#pragma once
#include "protocol/guest_memory.h"
#include "protocol/unique_fd.h"

namespace omx {

// One per process. Works through whichever thread is calling: a leader that has ended has no memory any more, while
// the other threads go on.
class ProcessMemory : public GuestMemory {
public:
    void through(HomeTid tid) { tid_ = tid; }
    void replaced() { maps_.reset(); }               // after exec: /proc/PID/maps of the old memory is no use
    void never_query() { has_query_ = false; }

    size_t read(GuestAddr from, std::span<std::byte> out) override;
    size_t write(GuestAddr to, View in) override;
    size_t writable(GuestAddr at, size_t bytes) override;

    // Writes even where the guest itself may not (private mappings), as a debugger does. All or nothing.
    bool write_forced(GuestAddr to, View in);

private:
    struct Mapping { uint64_t start, end; bool writable; };
    bool mapping_at(uint64_t address, Mapping&);     // the one that covers it
    bool mapping_from_text(uint64_t address, Mapping&);

    HomeTid tid_;
    UniqueFd maps_;
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
