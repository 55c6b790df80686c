// What a guest reads under /proc about a process of its job whose memory is on a node. The file itself is home's own
// (/proc/PID/NAME of the deputy), so that opening, permissions, fstat, passing and seeking are the kernel's business;
// only what is read is made here, of two texts: what home's file says, and what the node's file of the same name says.
//
// A text is made in two steps, each where something is known that the other side doesn't know:
//   on the node   in_homes_terms: our own mappings go, mapped contents are called by home's device and inode
//   at home       as_at_home: names of files, the kernel's own mappings, and every other field by its rule
// Both texts are the kernel's, but the node's comes over the link: whatever it is, nothing but the text is bad.
#pragma once
#include "loader/capture.h"
#include "loader/guest_capture.h"
#include <functional>
#include <optional>
#include <span>

namespace omx {

// Those of which a node has something to say. All others are home's alone.
enum class ProcFile : uint8_t {
    maps, smaps, smaps_rollup, numa_maps, status, stat, statm, cmdline, environ, wchan, syscall,
    mem, pagemap, clear_refs,        // no text: bytes at an offset
};
std::string_view name(ProcFile);
std::optional<ProcFile> proc_file(std::string_view name);
std::optional<ProcFile> proc_file(uint8_t number);       // as it travels
bool is_text(ProcFile);

// "…/4711/maps", "…/4711/task/4712/maps": whose file, and which.
struct ProcPath {
    HomeTid task;                    // 4711, or 4712
    bool of_thread = false;
    ProcFile file{};
};
std::optional<ProcPath> parse_proc_path(std::string_view path);

struct AddressRange { uint64_t start = 0, end = 0; };

// ---- on the node ----

struct NodeView {
    std::vector<AddressRange> ours;             // mapped for omxsup's sake, home's vDSO (it has its own there) included
    ContentFinder file;
    // CPU time used here, in clock ticks, as home's own is to be completed by.
    uint64_t user = 0, system = 0, childrens_user = 0, childrens_system = 0;
};
// `maps` is the text of /proc/PID/maps, taken together with `text`.
std::string in_homes_terms(ProcFile, std::string_view text, std::string_view maps, const NodeView&);

// ---- at home ----

struct HomeView {
    std::string_view text;                      // of home's file
    std::function<std::string(uint64_t device, uint64_t inode)> path_of;     // of a file that the process has mapped
    pid_t supervisor = 0;                       // who traces it, and is nobody to the guest
    bool self = false;                          // the thread that reads is the one that the file is about
    bool in_call = false;                       // home makes a call for it: what it waits for is home's to say
    bool stopped = false;                       // by job control
    std::string call;                           // that call, "0 0x3 0x7f…", as /proc/PID/syscall has it
};
// Without `node`: of a process that is at home, or has no memory any more.
std::string as_at_home(ProcFile, std::optional<std::string_view> node, const HomeView&);

}  // namespace omx
