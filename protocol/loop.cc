#include "protocol/loop.h"
#include "protocol/watches.h"

namespace omx {

Result<std::unique_ptr<Loop>> Loop::make(LoopKind kind) {
    if (kind == LoopKind::epoll) return make_epoll_loop();
    auto loop = make_uring_loop();
    // Switched off by sysctl, by a container's seccomp filter or not built in: epoll does the same a little slower.
    if (!loop && kind == LoopKind::automatic) return make_epoll_loop();
    return loop;
}

}  // namespace omx
