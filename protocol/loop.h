// The one event loop of supervisor, worker and node daemon: readiness of descriptors, by io_uring (polls that fire
// once and are armed again with the next wait: no extra system call) or, where io_uring is switched off or
// --link=epoll asks for it, by epoll. Handlers run in run_once().
// A Loop belongs to the thread that made it; after a fork the child makes its own and never uses the inherited one.
#pragma once
#include "protocol/result.h"
#include <chrono>
#include <functional>
#include <memory>

namespace omx {

enum class LoopKind { automatic, io_uring, epoll };

class Loop {
public:
    using Handler = std::function<void()>;
    // `automatic` tries io_uring and falls back to epoll.
    static Result<std::unique_ptr<Loop>> make(LoopKind kind = LoopKind::automatic);
    virtual ~Loop() = default;

    // Level-triggered: the handler is called again while the descriptor stays readable. It may watch and unwatch
    // any descriptor, itself included; a handler of a descriptor unwatched in the same turn is not called, nor is one
    // that was watched in this very turn. End of stream, hang-up and errors count as readable and as writable.
    // Watching what is watched already replaces the handler. Unwatch a descriptor before closing it: the kernel
    // keeps an open file that is still polled, and its peer would not see the end.
    virtual void watch_readable(int fd, Handler) = 0;
    virtual void watch_writable(int fd, Handler) = 0;
    virtual void unwatch_readable(int fd) = 0;       // no harm if it is not watched
    virtual void unwatch_writable(int fd) = 0;
    // Waits for at most `timeout_us` (negative: for ever) and runs what is ready. True if a handler ran; false early
    // if a signal came. With 0 and nothing ready this is a look into memory (io_uring) or one system call (epoll).
    virtual Result<bool> run_once(int64_t timeout_us = -1) = 0;
    virtual const char* kind() const = 0;
};

}  // namespace omx
