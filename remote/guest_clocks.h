// The clocks that guests see: home's. What home says of its clocks over the link becomes offsets of the guests' time
// namespace (CLOCK_MONOTONIC, CLOCK_BOOTTIME: once, before the first guest) and numbers on a page that all guests map
// (CLOCK_REALTIME and the others that no namespace keeps: again and again).
#pragma once
#include "loader/stub/clock_page.h"
#include "protocol/frames.h"
#include "protocol/unique_fd.h"
#include <memory>
#include <optional>
#include <time.h>
#include <utility>
#include <vector>

namespace omx {

inline constexpr int64_t kSecondNs = OMX_SECOND_NS;
omx_moment moment_of(int64_t ns);                        // also of negative ones: only the seconds are negative

// How far home's clock is ahead of ours, as far as a link lets see. Home read its clock somewhere between our question
// and its answer, so the truth lies between two bounds, as far from each other as a round trip takes. A value within
// both keeps cause before effect both ways: nothing from home seems to come from the future, nor ours there,
// unless it travels faster than questions and answers have.
class ClockGap {
public:
    void add(int64_t asked, int64_t home, int64_t heard);
    bool known() const { return samples_ > 0; }
    int64_t ahead() const { return ahead_; }
    int64_t uncertainty() const { return most_ - least_; }
    int samples() const { return samples_; }

private:
    int64_t ahead_ = 0, least_ = 0, most_ = 0, heard_ = 0;
    int64_t chosen_width_ = 0;                           // of the bounds, when ahead_ was chosen
    int samples_ = 0;
};

// A moment that stands where guests can read it, as an argument of one of their calls.
class LentMoment {
public:
    LentMoment(std::vector<uint16_t>& free, uint16_t index) : free_(&free), index_(index) {}
    LentMoment(LentMoment&& other) noexcept : free_(std::exchange(other.free_, nullptr)), index_(other.index_) {}
    LentMoment& operator=(LentMoment&& other) noexcept {
        std::swap(free_, other.free_);
        std::swap(index_, other.index_);
        return *this;
    }
    ~LentMoment() { if (free_) free_->push_back(index_); }
    uint64_t offset() const { return OMX_MOMENTS_AT + index_ * sizeof(timespec); }      // within the pages

private:
    std::vector<uint16_t>* free_;
    uint16_t index_;
};

class GuestClocks {
public:
    // `offsets`: /proc/self/timens_offsets of a worker whose children are to live in a time namespace of their own;
    // opened while it had the privilege. `test_realtime`: seconds that home's CLOCK_REALTIME is taken to be ahead of
    // what home says, so that who sees this machine's by mistake shows it (tests: here both are one clock).
    static Result<GuestClocks> make(UniqueFd offsets, int64_t test_realtime);

    int64_t now() const;                                 // CLOCK_MONOTONIC of this process
    void heard(const ClockFrame&);
    const ClockGap& gap() const { return gap_; }
    // From here on guests may be made; their CLOCK_MONOTONIC stays as it is set now.
    Status settle();
    void settle_without_namespace();                     // tests: as if guests' CLOCK_MONOTONIC were set
    bool settled() const { return settled_; }

    int offsets() const { return offsets_.get(); }
    int pages() const { return pages_.get(); }           // for plan_restore
    int64_t monotonic() const;                           // as guests see it
    // What a guest's clock shows; nullopt: one that its own kernel, or only home, can tell.
    std::optional<timespec> read(clockid_t) const;
    // That moment of the clock, by the guests' CLOCK_MONOTONIC: for waits, which the kernel must end.
    std::optional<timespec> in_monotonic(clockid_t, const timespec&) const;
    // nullopt: all are lent. The one who gets it must not outlive these clocks, nor these be moved meanwhile.
    std::optional<LentMoment> lend(const timespec&);

private:
    struct Unmap { void operator()(omx_clock_page*) const; };
    Status open_pages();
    void tell();

    UniqueFd offsets_, pages_;
    std::unique_ptr<omx_clock_page, Unmap> page_;
    std::vector<uint16_t> free_moments_;
    ClockGap gap_;
    ClockFrame home_;                                    // the last that it said, without noise
    int64_t test_realtime_ns_ = 0;
    int64_t ahead_ = 0;                                  // of the guests' CLOCK_MONOTONIC, against ours
    bool settled_ = false, set_ = false;
};

}  // namespace omx
