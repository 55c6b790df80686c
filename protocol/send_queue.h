// Frames that the socket has not taken yet. Urgent ones leave before bulk ones; within a priority the order is kept,
// and a frame of which a part has left is finished before anything else.
#pragma once
#include "protocol/bytes.h"
#include <algorithm>
#include <array>
#include <deque>
#include <sys/uio.h>

namespace omx {

class SendQueue {
public:
    static constexpr size_t kMaxPieces = 64;      // per system call

    size_t bytes() const { return bytes_; }
    bool empty() const { return bytes_ == 0; }

    // A frame in pieces, without its first `sent` bytes. One of which some bytes have left goes before all others.
    void push(std::span<const iovec> pieces, size_t sent, bool urgent) {
        Bytes frame;
        size_t total = 0;
        for (auto& piece : pieces) total += piece.iov_len;
        frame.reserve(total - sent);
        size_t skip = sent;
        for (auto& piece : pieces) {
            auto from = std::min(skip, piece.iov_len);
            skip -= from;
            auto p = static_cast<const std::byte*>(piece.iov_base);
            frame.insert(frame.end(), p + from, p + piece.iov_len);
        }
        bytes_ += frame.size();
        if (sent > 0) begun_ = std::move(frame);
        else (urgent ? urgent_ : bulk_).push_back(std::move(frame));
    }

    // What should leave next, in order; at most kMaxPieces.
    size_t pieces(std::array<iovec, kMaxPieces>& out) const {
        size_t count = 0;
        auto add = [&](const Bytes& frame, size_t from) {
            out[count++] = {const_cast<std::byte*>(frame.data()) + from, frame.size() - from};
        };
        if (!begun_.empty()) add(begun_, begun_sent_);
        for (auto queue : {&urgent_, &bulk_})
            for (auto frame = queue->begin(); frame != queue->end() && count < kMaxPieces; ++frame) add(*frame, 0);
        return count;
    }

    // The first `count` bytes of those pieces have left.
    void sent(size_t count) {
        bytes_ -= count;
        while (count > 0) {
            if (begun_.empty()) {
                auto& queue = urgent_.empty() ? bulk_ : urgent_;
                begun_ = std::move(queue.front());
                queue.pop_front();
            }
            auto now = std::min(count, begun_.size() - begun_sent_);
            begun_sent_ += now;
            count -= now;
            if (begun_sent_ < begun_.size()) continue;
            begun_ = {};
            begun_sent_ = 0;
        }
    }
    void clear() { *this = {}; }

private:
    Bytes begun_;                // its first begun_sent_ bytes have left
    size_t begun_sent_ = 0;
    std::deque<Bytes> urgent_, bulk_;
    size_t bytes_ = 0;
};

}  // namespace omx
