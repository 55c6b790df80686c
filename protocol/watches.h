// What both backends of the loop know of each watched descriptor, and the rules when a handler may still run.
#pragma once
#include "protocol/loop.h"
#include <sys/types.h>
#include <vector>

namespace omx {

enum class Direction : uint8_t { readable, writable };

// One descriptor in one direction.
struct Watch {
    // Shared, because a handler may unwatch or replace itself while it runs.
    std::shared_ptr<Loop::Handler> handler;    // empty: not watched
    uint64_t since_turn = 0;                   // the turn in which it was watched
    uint32_t generation = 0;                   // counts the polls armed (io_uring): tells old completions from ours
    bool armed = false;                        // io_uring: a poll is with the kernel
    bool queued = false;                       // io_uring: waits to be armed with the next submission
};

class WatchTable {
public:
    Watch& at(int fd, Direction direction) {
        OMX_CHECK(fd >= 0, "watching a descriptor");
        auto index = static_cast<size_t>(fd) * 2 + static_cast<size_t>(direction);
        if (index >= watches_.size()) watches_.resize((static_cast<size_t>(fd) + 1) * 2);
        return watches_[index];
    }
    Watch* find(int fd, Direction direction) {
        auto index = static_cast<size_t>(fd) * 2 + static_cast<size_t>(direction);
        return fd >= 0 && index < watches_.size() ? &watches_[index] : nullptr;
    }
    bool watched(int fd, Direction direction) {
        auto watch = find(fd, direction);
        return watch && watch->handler;
    }
    void set(Watch& watch, Loop::Handler handler) {
        watch.handler = std::make_shared<Loop::Handler>(std::move(handler));
        watch.since_turn = turn_;
    }
    // Call when events have been collected: what is watched from now on has no part in them.
    uint64_t begin_turn() { return turn_++; }
    // Runs the handler if it was already watched when the events of `turn` were collected.
    bool run(int fd, Direction direction, uint64_t turn) {
        auto watch = find(fd, direction);
        if (!watch || !watch->handler || watch->since_turn > turn) return false;
        auto handler = watch->handler;      // `watch` may move when the handler watches a greater number
        (*handler)();
        return true;
    }

private:
    std::vector<Watch> watches_;
    uint64_t turn_ = 0;
};

Result<std::unique_ptr<Loop>> make_uring_loop();
Result<std::unique_ptr<Loop>> make_epoll_loop();

}  // namespace omx
