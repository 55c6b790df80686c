// The loop by epoll, level-triggered as it comes.
#include "protocol/unique_fd.h"
#include "protocol/watches.h"
#include <algorithm>
#include <sys/epoll.h>

namespace omx {

namespace {

constexpr int kEventsPerTurn = 64;

class EpollLoop : public Loop {
public:
    explicit EpollLoop(UniqueFd epoll) : epoll_(std::move(epoll)) {}

    void watch_readable(int fd, Handler handler) override { watch(fd, Direction::readable, std::move(handler)); }
    void watch_writable(int fd, Handler handler) override { watch(fd, Direction::writable, std::move(handler)); }
    void unwatch_readable(int fd) override { unwatch(fd, Direction::readable); }
    void unwatch_writable(int fd) override { unwatch(fd, Direction::writable); }
    const char* kind() const override { return "epoll"; }

    Result<bool> run_once(int64_t timeout_us) override {
        if (failed_code_ != 0) return fail_errno(fmt::format("watching descriptor {}", failed_fd_), failed_code_);
        epoll_event events[kEventsPerTurn];
        int count = wait(events, timeout_us);
        if (count < 0) {
            if (errno == EINTR) return false;
            return fail_errno("epoll_wait");
        }
        auto turn = watches_.begin_turn();
        bool ran = false;
        for (int i = 0; i < count; ++i) ran |= dispatch(events[i], turn);
        return ran;
    }

private:
    void watch(int fd, Direction direction, Handler handler) {
        auto& watch = watches_.at(fd, direction);
        watches_.set(watch, std::move(handler));
        tell_kernel(fd);
    }
    void unwatch(int fd, Direction direction) {
        if (!watches_.watched(fd, direction)) return;
        watches_.at(fd, direction).handler.reset();
        tell_kernel(fd);
    }

    void tell_kernel(int fd) {
        epoll_event event{};
        if (watches_.watched(fd, Direction::readable)) event.events |= EPOLLIN;
        if (watches_.watched(fd, Direction::writable)) event.events |= EPOLLOUT;
        event.data.fd = fd;
        if (event.events == 0) {
            epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);      // fails if it is closed already: then it is gone
            return;
        }
        // MOD before ADD: a number that was closed and opened anew while watched is not in the set any more.
        if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0) return;
        if (errno == ENOENT && epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return;
        if (failed_code_ == 0) {
            failed_code_ = errno;
            failed_fd_ = fd;
        }
    }

    int wait(epoll_event* events, int64_t timeout_us) {
        if (timeout_us <= 0) return epoll_wait(epoll_.get(), events, kEventsPerTurn, timeout_us < 0 ? -1 : 0);
        timespec timeout{timeout_us / 1'000'000, timeout_us % 1'000'000 * 1000};
        int count = epoll_pwait2(epoll_.get(), events, kEventsPerTurn, &timeout, nullptr);
        if (count >= 0 || errno != ENOSYS) return count;
        auto timeout_ms = std::min<int64_t>((timeout_us + 999) / 1000, INT32_MAX);      // before Linux 5.11
        return epoll_wait(epoll_.get(), events, kEventsPerTurn, static_cast<int>(timeout_ms));
    }

    bool dispatch(const epoll_event& event, uint64_t turn) {
        constexpr uint32_t ended = EPOLLERR | EPOLLHUP;
        bool ran = false;
        if (event.events & (EPOLLIN | ended)) ran |= watches_.run(event.data.fd, Direction::readable, turn);
        if (event.events & (EPOLLOUT | ended)) ran |= watches_.run(event.data.fd, Direction::writable, turn);
        return ran;
    }

    UniqueFd epoll_;
    WatchTable watches_;
    int failed_fd_ = -1;
    int failed_code_ = 0;       // watching returns nothing, so the next turn tells
};

}  // namespace

Result<std::unique_ptr<Loop>> make_epoll_loop() {
    UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
    if (!epoll) return fail_errno("epoll_create1");
    return std::make_unique<EpollLoop>(std::move(epoll));
}

}  // namespace omx
