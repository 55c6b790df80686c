#include "protocol/link.h"
#include "protocol/receive_buffer.h"
#include "protocol/send_queue.h"
#include <algorithm>
#include <chrono>
#include <poll.h>

namespace omx {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kKeepScratchBytes = 1u << 20;
constexpr size_t kBigFrameBytes = 128u << 10;
constexpr auto kBigFramePatience = std::chrono::milliseconds(5);
// Up to here a copy into one piece costs less than the kernel's handling of three.
constexpr size_t kSmallBytes = 1024;

// Waits for the events or the deadline; false: time is over.
Result<bool> wait_for(int fd, short events, Clock::time_point deadline) {
    for (;;) {
        auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
        pollfd what{fd, events, 0};
        int ready = poll(&what, 1, static_cast<int>(std::max<int64_t>(left, 0)));
        if (ready > 0) return true;
        if (ready == 0) return false;
        if (errno != EINTR) return fail_errno("poll on the link");
    }
}

std::unexpected<Error> late(std::string what) { return std::unexpected(Error{std::move(what), ETIMEDOUT}); }

Error gone(std::string_view why) { return {fmt::format("the link is gone: {}", why), ECONNRESET}; }

// Everything that may be wrong with a header, before a byte is allocated for its body.
std::optional<Error> complaint(const FrameHeader& h) {
    auto nonsense = [](std::string_view what) { return Error{fmt::format("the link's peer sends {}", what), EPROTO}; };
    if (h.length > kMaxFrameBytes) return nonsense(fmt::format("a frame of {} bytes", h.length));
    if (h.flags != 0) return nonsense(fmt::format("a frame with flags {:#x}", h.flags));
    if (!known(static_cast<FrameType>(h.type))) return nonsense(fmt::format("a frame of type {}", h.type));
    return std::nullopt;
}

}  // namespace

struct Link::Impl {
    Impl(std::unique_ptr<Channel> c, Loop& l) : channel(std::move(c)), loop(l) {}

    std::unique_ptr<Channel> channel;
    Loop& loop;
    SendQueue queue;
    ReceiveBuffer buffer;
    LinkCounters counters;
    bool watching = false;              // for writability
    unsigned held = 0;                  // Togethers alive
    std::optional<Error> send_error;    // frames that have arrived are still delivered
    std::optional<Error> receive_error;

    void send(std::span<const iovec> pieces, size_t total, Priority);
    ssize_t hand_over(const iovec*, size_t count);
    size_t hand_over_big(std::span<const iovec>, size_t total);
    void send_queued();
    void watch();
    void writable();
    Result<std::optional<Frame>> parse();
    Result<std::optional<Frame>> receive();
    std::unexpected<Error> broken(Error);
};

// ---- sending ----

// Bytes that the socket took; 0 if it is full or broken.
ssize_t Link::Impl::hand_over(const iovec* pieces, size_t count) {
    auto taken = channel->send(pieces, static_cast<int>(count));
    if (taken > 0) {
        ++counters.sends;
        counters.bytes_out += static_cast<uint64_t>(taken);
        return taken;
    }
    if (taken < 0 && taken != -EAGAIN) {
        send_error = gone(std::strerror(static_cast<int>(-taken)));
        queue.clear();
    }
    return 0;
}

void Link::Impl::send(std::span<const iovec> pieces, size_t total, Priority priority) {
    if (send_error) return;      // receive() tells
    ++counters.frames_out;
    bool urgent = priority == Priority::urgent;
    if (held || !queue.empty()) {
        queue.push(pieces, 0, urgent);
        if (urgent && !held) send_queued();
        return;
    }
    size_t taken = urgent && total >= kBigFrameBytes ? hand_over_big(pieces, total)
                                                     : static_cast<size_t>(hand_over(pieces.data(), pieces.size()));
    if (taken == total || send_error) return;
    queue.push(pieces, taken, urgent);
    watch();
}

// A big answer is worth a moment's waiting for the socket: queueing what it doesn't take would copy it, and every
// other frame would wait behind it anyway. Bounded, so that two ends that both send can't hold each other up.
size_t Link::Impl::hand_over_big(std::span<const iovec> pieces, size_t total) {
    auto deadline = Clock::now() + kBigFramePatience;
    for (size_t taken = 0;;) {
        std::array<iovec, 3> left;
        size_t count = 0, skip = taken;
        for (auto piece : pieces) {
            size_t gone_already = std::min(skip, piece.iov_len);
            skip -= gone_already;
            if (piece.iov_len > gone_already)
                left[count++] = {static_cast<std::byte*>(piece.iov_base) + gone_already, piece.iov_len - gone_already};
        }
        taken += static_cast<size_t>(hand_over(left.data(), count));
        if (taken == total || send_error) return taken;
        auto writable_again = wait_for(channel->fd(), POLLOUT, deadline);
        if (!writable_again || !*writable_again) return taken;
    }
}

void Link::Impl::send_queued() {
    while (!queue.empty()) {
        std::array<iovec, SendQueue::kMaxPieces> pieces;
        auto count = queue.pieces(pieces);
        size_t offered = 0;
        for (size_t i = 0; i < count; ++i) offered += pieces[i].iov_len;
        auto taken = static_cast<size_t>(hand_over(pieces.data(), count));
        if (send_error) return;
        queue.sent(taken);
        if (taken < offered) return;
    }
}

void Link::Impl::watch() {
    if (watching) return;
    watching = true;
    loop.watch_writable(channel->fd(), [this] { writable(); });
}

void Link::Impl::writable() {
    send_queued();
    if (!queue.empty()) return;
    watching = false;
    loop.unwatch_writable(channel->fd());      // ends this handler's closure: nothing of it is used from here on
}

// ---- receiving ----

std::unexpected<Error> Link::Impl::broken(Error why) {
    receive_error = why;
    return std::unexpected(std::move(why));
}

Result<std::optional<Frame>> Link::Impl::parse() {
    auto header = buffer.peek();
    if (!header) return std::nullopt;
    if (auto what = complaint(*header)) return broken(std::move(*what));
    auto body = buffer.take(*header);
    if (!body) return std::nullopt;
    ++counters.frames_in;
    return Frame{static_cast<FrameType>(header->type), header->id, *body};
}

Result<std::optional<Frame>> Link::Impl::receive() {
    if (receive_error) return std::unexpected(*receive_error);
    auto frame = parse();
    if (!frame || *frame) return frame;
    auto header = buffer.peek();
    auto room = buffer.room(sizeof(FrameHeader) + (header ? header->length : 0));
    if (room.empty()) return broken({"out of memory for a frame of the link", ENOMEM});
    auto got = channel->receive(room.data(), room.size());
    if (got > 0) {
        ++counters.receives;
        counters.bytes_in += static_cast<uint64_t>(got);
        buffer.arrived(static_cast<size_t>(got));
        return parse();
    }
    if (got == 0) return broken(gone(buffer.unread() ? "the peer closed it within a frame" : "the peer closed it"));
    if (got != -EAGAIN) return broken(gone(std::strerror(static_cast<int>(-got))));
    if (send_error) return broken(*send_error);
    return std::nullopt;
}

// ---- the class itself ----

Link::Link(std::unique_ptr<Channel> channel, Loop& loop) : impl_(std::make_unique<Impl>(std::move(channel), loop)) {}

Link::~Link() {
    if (impl_->watching) impl_->loop.unwatch_writable(impl_->channel->fd());
}

void Link::send(FrameType type, uint64_t id, View body, Priority priority, View body_tail) {
    size_t length = body.size() + body_tail.size();
    OMX_CHECK(length <= kMaxFrameBytes, fmt::format("sending a {} frame of {} bytes", name(type), length));
    FrameHeader header{static_cast<uint32_t>(length), static_cast<uint16_t>(type), 0, id};
    if (length <= kSmallBytes) {
        std::array<std::byte, sizeof header + kSmallBytes> whole;
        auto end = std::ranges::copy(std::as_bytes(std::span(&header, 1)), whole.begin()).out;
        end = std::ranges::copy(body, end).out;
        std::ranges::copy(body_tail, end);
        iovec piece{whole.data(), sizeof header + length};
        impl_->send({&piece, 1}, piece.iov_len, priority);
    } else {
        iovec pieces[] = {{&header, sizeof header},
                          {const_cast<std::byte*>(body.data()), body.size()},
                          {const_cast<std::byte*>(body_tail.data()), body_tail.size()}};
        impl_->send(pieces, sizeof header + length, priority);
    }
    if (scratch_.capacity() > kKeepScratchBytes) scratch_ = {};
}

Link::Together::Together(Link& link) : link_(link) { link_.impl_->held++; }

Link::Together::~Together() {
    if (--link_.impl_->held > 0) return;
    link_.impl_->send_queued();
    if (!link_.impl_->queue.empty()) link_.impl_->watch();
}

Result<std::optional<Frame>> Link::receive() { return impl_->receive(); }

Result<Frame> Link::receive_wait(int timeout_ms) {
    auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
    for (;;) {
        auto frame = receive();
        if (!frame) return std::unexpected(frame.error());
        if (*frame) return **frame;
        bool sending = !impl_->queue.empty();
        auto ready = wait_for(fd(), static_cast<short>(sending ? POLLIN | POLLOUT : POLLIN), deadline);
        if (!ready) return std::unexpected(ready.error());
        if (!*ready) return late(fmt::format("no answer over the link within {} ms", timeout_ms));
        if (sending) impl_->send_queued();
    }
}

Status Link::flush(int timeout_ms) {
    auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
    for (;;) {
        impl_->send_queued();
        if (impl_->send_error) return std::unexpected(*impl_->send_error);
        if (impl_->queue.empty()) return {};
        auto ready = wait_for(fd(), POLLOUT, deadline);
        if (!ready) return std::unexpected(ready.error());
        if (!*ready) return late(fmt::format("{} bytes wait for the link after {} ms", queued_bytes(), timeout_ms));
    }
}

bool Link::has_buffered_frame() const {
    if (impl_->receive_error) return false;
    auto header = impl_->buffer.peek();
    return header && (complaint(*header) || impl_->buffer.unread() >= sizeof *header + header->length);
}

size_t Link::queued_bytes() const { return impl_->queue.bytes(); }
int Link::fd() const { return impl_->channel->fd(); }
const LinkCounters& Link::counters() const { return impl_->counters; }

}  // namespace omx
