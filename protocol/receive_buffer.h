// Where a link's bytes arrive: one linear piece of memory in which frames are parsed in place. It starts small
// enough to stay in the CPU's cache, grows for a big frame and shrinks again after it.
#pragma once
#include "protocol/frames.h"
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>

namespace omx {

class ReceiveBuffer {
public:
    static constexpr size_t kBaseBytes = 256u << 10;
    static constexpr size_t kKeepBytes = 4u << 20;       // more than this is given back at once
    static constexpr unsigned kSmallFramesToShrink = 64; // and less after so many frames that would fit kBaseBytes

    size_t unread() const { return end_ - begin_; }
    size_t capacity() const { return capacity_; }

    // The next frame's header, if all of it is here; consumes nothing.
    std::optional<FrameHeader> peek() const {
        if (unread() < sizeof(FrameHeader)) return std::nullopt;
        FrameHeader header;
        std::memcpy(&header, data_.get() + begin_, sizeof header);
        return header;
    }
    // The body of the frame that peek() showed, if all of it is here. Valid until room().
    std::optional<View> take(const FrameHeader& header) {
        if (unread() < sizeof header + header.length) return std::nullopt;
        View body(data_.get() + begin_ + sizeof header, header.length);
        begin_ += sizeof header + header.length;
        if (sizeof header + header.length > kBaseBytes) small_frames_ = 0;
        else ++small_frames_;
        return body;
    }

    // Room to receive into, enough for the rest of a frame of `frame_bytes` (header included) and often for more.
    // Empty: out of memory. The memory that a big frame will need is only reserved; pages come as its bytes do.
    std::span<std::byte> room(size_t frame_bytes) {
        if (begin_ == end_) begin_ = end_ = 0;
        size_t wanted = std::max(kBaseBytes, frame_bytes);
        bool too_big = begin_ == end_ && capacity_ > kBaseBytes && wanted == kBaseBytes &&
                       (capacity_ > kKeepBytes || small_frames_ >= kSmallFramesToShrink);
        if (capacity_ < wanted || too_big) {
            if (!reallocate(wanted)) return {};
        } else if (begin_ > 0 && (begin_ + frame_bytes > capacity_ || capacity_ - end_ < kBaseBytes / 8)) {
            std::memmove(data_.get(), data_.get() + begin_, unread());
            end_ = unread();
            begin_ = 0;
        }
        return {data_.get() + end_, capacity_ - end_};
    }
    void arrived(size_t bytes) { end_ += bytes; }

private:
    struct Free { void operator()(std::byte* p) const { std::free(p); } };

    bool reallocate(size_t bytes) {
        std::unique_ptr<std::byte[], Free> fresh(static_cast<std::byte*>(std::malloc(bytes)));
        if (!fresh) return false;
        if (unread() > 0) std::memcpy(fresh.get(), data_.get() + begin_, unread());
        end_ = unread();
        begin_ = 0;
        data_ = std::move(fresh);
        capacity_ = bytes;
        return true;
    }

    std::unique_ptr<std::byte[], Free> data_;
    size_t capacity_ = 0, begin_ = 0, end_ = 0;
    unsigned small_frames_ = 0;
};

}  // namespace omx
