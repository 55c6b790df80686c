// The loop by io_uring. Polls fire once and are armed again with the next wait, in the same system call: that is
// what makes them level-triggered. A multishot poll would tell only of changes, and a handler that left something
// unread would never be called again (IORING_POLL_ADD_LEVEL means something else).
#include "protocol/watches.h"
#include <algorithm>
#include <liburing.h>
#include <poll.h>

namespace omx {

namespace {

constexpr unsigned kEntries = 256;
constexpr uint64_t kNobody = ~uint64_t{0};        // completions of cancellations

// The cookie of a poll: which descriptor and direction, and which of all polls ever armed there.
struct Cookie {
    int fd;
    Direction direction;
    uint32_t generation;
    uint64_t pack() const {
        return uint64_t{generation} << 32 | uint64_t{static_cast<uint32_t>(fd)} << 1 | static_cast<uint64_t>(direction);
    }
    static Cookie unpack(uint64_t packed) {
        auto low = static_cast<uint32_t>(packed);
        return {static_cast<int>(low >> 1), static_cast<Direction>(low & 1), static_cast<uint32_t>(packed >> 32)};
    }
};

class UringLoop : public Loop {
public:
    // The ring must stay where it is, so it is set up in place.
    Status open() {
        // Each set for an older kernel than the one before: 6.1, 5.19, any.
        constexpr unsigned flags[] = {
            IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
            IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
            0,
        };
        int result = 0;
        for (auto set : flags) {
            result = io_uring_queue_init(kEntries, &ring_, set);
            if (result == 0) break;
        }
        if (result != 0) return fail_errno("io_uring_setup", -result);
        open_ = true;
        if (!(ring_.features & IORING_FEAT_EXT_ARG)) return fail("io_uring: no timeouts before Linux 5.11");
        return {};
    }
    ~UringLoop() override { if (open_) io_uring_queue_exit(&ring_); }

    void watch_readable(int fd, Handler handler) override { watch(fd, Direction::readable, std::move(handler)); }
    void watch_writable(int fd, Handler handler) override { watch(fd, Direction::writable, std::move(handler)); }
    void unwatch_readable(int fd) override { unwatch(fd, Direction::readable); }
    void unwatch_writable(int fd) override { unwatch(fd, Direction::writable); }
    const char* kind() const override { return "io_uring"; }

    Result<bool> run_once(int64_t timeout_us) override;

private:
    struct Event { Cookie cookie; int result; };

    void watch(int fd, Direction direction, Handler handler);
    void unwatch(int fd, Direction direction);
    void queue(int fd, Direction direction);
    bool arm_queued();
    io_uring_sqe* entry();
    int submit_and_wait(int64_t timeout_us);
    void collect();
    Result<bool> dispatch();

    io_uring ring_{};
    bool open_ = false;
    WatchTable watches_;
    std::vector<Cookie> to_arm_;
    std::vector<Event> events_;        // of this turn
};

void UringLoop::watch(int fd, Direction direction, Handler handler) {
    // The number may stand for another open file than when it was watched: the old poll must not speak for it.
    unwatch(fd, direction);
    watches_.set(watches_.at(fd, direction), std::move(handler));
    queue(fd, direction);
}

void UringLoop::queue(int fd, Direction direction) {
    auto& watch = watches_.at(fd, direction);
    if (watch.queued || watch.armed) return;
    watch.queued = true;
    to_arm_.push_back({fd, direction, 0});
}

void UringLoop::unwatch(int fd, Direction direction) {
    if (!watches_.watched(fd, direction)) return;
    auto& watch = watches_.at(fd, direction);
    watch.handler.reset();
    if (!watch.armed) return;
    watch.armed = false;
    // At once and not with the next turn: the poll holds the open file, and the caller may be about to close it.
    auto sqe = entry();
    io_uring_prep_poll_remove(sqe, Cookie{fd, direction, watch.generation}.pack());
    io_uring_sqe_set_data64(sqe, kNobody);
    io_uring_submit_and_get_events(&ring_);
}

io_uring_sqe* UringLoop::entry() {
    auto sqe = io_uring_get_sqe(&ring_);
    while (!sqe) {
        io_uring_submit_and_get_events(&ring_);
        sqe = io_uring_get_sqe(&ring_);
    }
    return sqe;
}

// True if there is something to submit.
bool UringLoop::arm_queued() {
    for (auto [fd, direction, unused] : to_arm_) {
        auto& watch = watches_.at(fd, direction);
        watch.queued = false;
        if (!watch.handler || watch.armed) continue;
        watch.armed = true;
        ++watch.generation;
        auto sqe = entry();
        io_uring_prep_poll_add(sqe, fd, direction == Direction::readable ? POLLIN : POLLOUT);
        io_uring_sqe_set_data64(sqe, Cookie{fd, direction, watch.generation}.pack());
    }
    to_arm_.clear();
    return io_uring_sq_ready(&ring_) != 0;
}

// 0 or -errno.
int UringLoop::submit_and_wait(int64_t timeout_us) {
    io_uring_cqe* cqe = nullptr;
    int result;
    if (timeout_us < 0) {
        result = io_uring_submit_and_wait(&ring_, 1);
    } else if (timeout_us == 0) {
        result = io_uring_submit_and_get_events(&ring_);
    } else {
        __kernel_timespec timeout{timeout_us / 1'000'000, timeout_us % 1'000'000 * 1000};
        result = io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &timeout, nullptr);
    }
    return std::min(result, 0);
}

void UringLoop::collect() {
    events_.clear();
    io_uring_cqe* cqe;
    unsigned head, count = 0;
    io_uring_for_each_cqe(&ring_, head, cqe) {
        ++count;
        if (cqe->user_data == kNobody) continue;
        auto cookie = Cookie::unpack(cqe->user_data);
        auto watch = watches_.find(cookie.fd, cookie.direction);
        if (!watch || !watch->armed || watch->generation != cookie.generation) continue;      // cancelled meanwhile
        watch->armed = false;
        events_.push_back({cookie, cqe->res});
    }
    io_uring_cq_advance(&ring_, count);
}

Result<bool> UringLoop::dispatch() {
    // Taken out, so that a handler that runs the loop itself does not disturb this turn.
    auto events = std::move(events_);
    auto turn = watches_.begin_turn();
    bool ran = false;
    int failed_fd = -1, failed_code = 0;
    for (auto [cookie, result] : events) {
        if (result < 0) {
            failed_fd = cookie.fd;
            failed_code = -result;
            continue;
        }
        ran |= watches_.run(cookie.fd, cookie.direction, turn);
        if (watches_.watched(cookie.fd, cookie.direction)) queue(cookie.fd, cookie.direction);
    }
    events.clear();
    events_ = std::move(events);      // keeps its memory
    if (failed_code != 0) return fail_errno(fmt::format("watching descriptor {}", failed_fd), failed_code);
    return ran;
}

Result<bool> UringLoop::run_once(int64_t timeout_us) {
    bool submit = arm_queued();
    io_uring_cqe* cqe = nullptr;
    if (submit || timeout_us != 0) {
        int result = submit_and_wait(timeout_us);
        // EBUSY and EAGAIN: the completion queue must be emptied first, which is what follows.
        if (result < 0 && result != -EINTR && result != -ETIME && result != -EBUSY && result != -EAGAIN)
            return fail_errno("io_uring_enter", -result);
    } else if (io_uring_peek_cqe(&ring_, &cqe) != 0) {
        return false;      // no system call unless the kernel has set a flag in the ring
    }
    collect();
    return dispatch();
}

}  // namespace

Result<std::unique_ptr<Loop>> make_uring_loop() {
    auto loop = std::make_unique<UringLoop>();
    OMX_TRY(loop->open());
    return loop;
}

}  // namespace omx
