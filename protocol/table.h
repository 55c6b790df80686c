// The one table: what happens to every x86-64 system call. See docs/adding-a-call.md.
// Filter, encoder, decoder, trace, `omxsup syscalls`, docs/syscalls.md and the completeness test derive from it.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace omx {

enum class Place : uint8_t {
    local,        // the node's kernel runs it, untrapped (ALLOW)
    forward,      // the deputy runs it
    tell,         // forwarded without waiting
    cached,       // answered by the worker from what it knows, else forwarded
    both,         // the deputy runs it first; if that succeeds the node's kernel runs it too (rt_sigaction, mask, names)
    life,         // both halves act together: clone, exec, exit, mmap of a file
    memory_of,    // acts on the memory of a pid: served where that guest is
    home,         // runs only at home. Until guests can come home (docs/limits.md): "not yet"
    deny,         // policy refuses
};
std::string_view name(Place);

struct Placement {
    Place place;
    std::string_view why;      // one sentence; never empty unless place is forward or local
};

struct Row;                                              // fields: see the implementation part below
std::span<const Row> rows();                             // ascending by number
const Row* find_row(uint32_t nr);                        // nullptr: Linux has no such call (home's to answer: place home)
std::string_view call_name(uint32_t nr);                 // "openat"; "syscall_5000" style for unknown ones lives in trace
// Where this very call runs: the row, refined by its subtable (ioctl, fcntl, prctl, socket options, futex, madvise,
// mmap flags, clone flags). Used by the worker to act and by home to check.
Placement place_of(uint32_t nr, const std::array<uint64_t, 6>& args);
// True if the call may wait for something other than a disk (read of a pipe, poll, wait4, accept, flock …).
bool may_block(uint32_t nr, const std::array<uint64_t, 6>& args);

// When a row that is not `local` may run untrapped all the same: (args[argument] & mask) == value. For the filter.
struct LocalWhen { uint8_t argument; uint64_t mask, value; };

}  // namespace omx
