// The one event loop of supervisor, worker and node daemon: readiness of descriptors, by io_uring (multishot poll)
// or, where io_uring is switched off or --link=epoll asks for it, by epoll. One thread; handlers run in run_once().
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
    // any descriptor, itself included; a handler of a descriptor unwatched in the same turn is not called.
    virtual void watch_readable(int fd, Handler) = 0;
    virtual void watch_writable(int fd, Handler) = 0;
    virtual void unwatch_readable(int fd) = 0;
    virtual void unwatch_writable(int fd) = 0;
    // Waits for at most `timeout_us` (negative: for ever) and runs what is ready. True if a handler ran.
    virtual Result<bool> run_once(int64_t timeout_us = -1) = 0;
    virtual const char* kind() const = 0;
};

}  // namespace omx
