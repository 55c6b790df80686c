// What the worker knows of a guest's lane: the socket of its own on which its hot calls go home (docs/lanes.md).
#pragma once
#include "protocol/bytes.h"
#include "protocol/unique_fd.h"
#include <cstdint>
#include <map>
#include <vector>

namespace omx {

struct GuestLane {
    enum class State : uint8_t {
        none,
        asked,       // of home
        ready,       // the socket is here, or already in the guest's table; the island doesn't use it
        on,
    };
    bool has_island = false;             // the pages are mapped
    bool alone = true;                   // memory and descriptor table are no other process's too
    bool may_share = false;              // anonymous memory, with a process that it has forked or that has forked it
    State state = State::none;
    uint64_t number = 0;
    UniqueFd socket;                     // until it is installed
    unsigned calls = 0;                  // notified, of those that could use a lane
    std::vector<uint64_t> sites;         // rewritten; the index is the stub's
    std::map<uint64_t, unsigned> heat;   // calls by site not rewritten; kNever: it can't be
    std::vector<Bytes> pongs;            // home waits for these: held back until it is known where the guest stands

    static constexpr unsigned kNever = ~0u;

    // Of a forked child: the same pages, the same rewritten sites, no lane.
    GuestLane of_child(bool alone_too) const {
        GuestLane l;
        l.has_island = has_island, l.sites = sites, l.alone = alone_too, l.may_share = true;
        return l;
    }
};

// A thread on its way out of the island: it goes on when the worker has seen as many frames of the link as home had
// sent before the answer.
struct LaneExit {
    uint64_t notification = 0, link_frames = 0;
    bool answered = false;
};

}  // namespace omx
