#include "remote/guest_clocks.h"
#include <algorithm>
#include <array>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace omx {
namespace {

constexpr int64_t kNoiseNs = 1000;          // of reading two clocks one after the other

int64_t read_clock(clockid_t id) {
    timespec t{};
    clock_gettime(id, &t);
    return t.tv_sec * kSecondNs + t.tv_nsec;
}

struct Offsets { int64_t monotonic = 0, boottime = 0; };

// What this process's own namespace adds, if it is in one: "monotonic SECONDS NANOSECONDS", "boottime …".
Result<Offsets> read_offsets(int fd) {
    std::array<char, 256> text{};
    long long s[2]{}, ns[2]{};
    if (pread(fd, text.data(), text.size() - 1, 0) < 0) return fail_errno("can't read timens_offsets");
    if (sscanf(text.data(), "monotonic %lld %lld boottime %lld %lld", &s[0], &ns[0], &s[1], &ns[1]) != 4)
        return fail("timens_offsets says something else than expected");
    return Offsets{s[0] * kSecondNs + ns[0], s[1] * kSecondNs + ns[1]};
}

Status write_offsets(int fd, Offsets o) {
    auto monotonic = moment_of(o.monotonic), boottime = moment_of(o.boottime);
    auto text = fmt::format("monotonic {} {}\nboottime {} {}\n", monotonic.seconds, monotonic.nanoseconds,
                            boottime.seconds, boottime.nanoseconds);
    if (write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        return fail_errno("can't set the guests' clocks (timens_offsets)");
    return {};
}

std::optional<omx_told_clock> told_clock(clockid_t id) {
    switch (id) {
        case CLOCK_REALTIME: case CLOCK_REALTIME_ALARM: return OMX_REALTIME;
        case CLOCK_REALTIME_COARSE: return OMX_REALTIME_COARSE;
        case CLOCK_TAI: return OMX_TAI;
        case CLOCK_MONOTONIC_RAW: return OMX_RAW;
        default: return std::nullopt;
    }
}

clockid_t base_of(omx_told_clock which) {
    return which == OMX_REALTIME_COARSE ? CLOCK_MONOTONIC_COARSE : CLOCK_MONOTONIC;
}

omx_moment load(const volatile omx_moment& m) { return {m.seconds, m.nanoseconds}; }
void store(volatile omx_moment& m, omx_moment value) {
    m.seconds = value.seconds;
    m.nanoseconds = value.nanoseconds;
}

void settle_noise(int64_t& kept, int64_t said) {
    if (std::abs(said - kept) > kNoiseNs) kept = said;
}

}  // namespace

omx_moment moment_of(int64_t ns) {
    int64_t seconds = ns / kSecondNs, rest = ns % kSecondNs;
    if (rest < 0) rest += kSecondNs, seconds--;
    return {seconds, rest};
}

// All questions together say more than the shortest: one had a fast way there, another one back. What lies within the
// bounds stays as it is, until they are much narrower: to follow every measurement would only make the clock unsteady.
void ClockGap::add(int64_t asked, int64_t home, int64_t heard) {
    constexpr int64_t kDriftPart = 10'000;               // crystals differ by less than 100 parts in a million
    int64_t least = home - heard, most = home - asked;
    if (most < least) return;
    int64_t drift = samples_ ? std::abs(heard - heard_) / kDriftPart : 0;
    bool first = samples_++ == 0, contradicts = least > most_ + drift || most < least_ - drift;
    heard_ = heard;
    least_ = first || contradicts ? least : std::max(least, least_ - drift);
    most_ = first || contradicts ? most : std::min(most, most_ + drift);
    int64_t width = most_ - least_;
    bool within = ahead_ >= least_ && ahead_ <= most_;
    if (!within && contradicts && !first && width > 2 * chosen_width_) {     // slow, but it says that much
        ahead_ = std::clamp(ahead_, least_, most_);
    } else if (first || !within || 4 * width <= 3 * chosen_width_) {
        ahead_ = least_ + width / 2;
        chosen_width_ = width;
    }
}

void GuestClocks::Unmap::operator()(omx_clock_page* page) const { munmap(page, OMX_CLOCK_BYTES); }

Result<GuestClocks> GuestClocks::make(UniqueFd offsets, int64_t test_realtime) {
    GuestClocks clocks;
    clocks.offsets_ = std::move(offsets);
    clocks.test_realtime_ns_ = test_realtime * kSecondNs;
    OMX_TRY(clocks.open_pages());
    return clocks;
}

// Guests get a descriptor that can't be written through, so that their mapping can't be made writable.
Status GuestClocks::open_pages() {
    UniqueFd writable(memfd_create("omxsup-clocks", MFD_CLOEXEC));
    if (!writable || ftruncate(writable.get(), OMX_CLOCK_BYTES) < 0) return fail_errno("memfd_create");
    void* p = mmap(nullptr, OMX_CLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, writable.get(), 0);
    if (p == MAP_FAILED) return fail_errno("mmap");
    page_.reset(static_cast<omx_clock_page*>(p));
    pages_.reset(open(fmt::format("/proc/self/fd/{}", writable.get()).c_str(), O_RDONLY | O_CLOEXEC));
    if (!pages_) return fail_errno("can't open the guests' clocks");
    for (uint16_t i = 0; i < OMX_MOMENTS; i++) free_moments_.push_back(i);
    return {};
}

int64_t GuestClocks::now() const { return read_clock(CLOCK_MONOTONIC); }
int64_t GuestClocks::monotonic() const { return now() + ahead_; }

void GuestClocks::heard(const ClockFrame& said) {
    if (said.asked) gap_.add(said.asked, said.monotonic, now());
    auto before = home_.realtime;
    settle_noise(home_.realtime, said.realtime + test_realtime_ns_);
    settle_noise(home_.raw, said.raw);
    settle_noise(home_.boottime, said.boottime);
    home_.tai = home_.realtime + (said.tai - said.realtime + kSecondNs / 2) / kSecondNs * kSecondNs;
    set_ = set_ || home_.realtime != before;             // somebody has set home's clock: it may go back
    if (settled_) tell();
}

Status GuestClocks::settle() {
    if (settled_) return {};
    if (!gap_.known()) return fail("home has not said what its clocks show");
    auto own = read_offsets(offsets_.get());
    if (!own) return std::unexpected(own.error());
    ahead_ = gap_.ahead();
    int64_t boottime = monotonic() + home_.boottime - read_clock(CLOCK_BOOTTIME);
    OMX_TRY(write_offsets(offsets_.get(), {own->monotonic + ahead_, own->boottime + boottime}));
    offsets_.reset();
    settle_without_namespace();
    return {};
}

void GuestClocks::settle_without_namespace() {
    ahead_ = gap_.ahead();
    settled_ = true;
    tell();
}

// Guests that read meanwhile begin anew (vdso.c). A clock that is found to be fast stands still until it is right, so
// that none is ever seen going back.
void GuestClocks::tell() {
    int64_t since = gap_.ahead() - ahead_;
    const int64_t ahead[OMX_TOLD_CLOCKS] = {home_.realtime + since, home_.realtime + since, home_.tai + since,
                                            home_.raw + since};
    auto& page = *page_;
    page.sequence = page.sequence + 1;
    for (int i = 0; i < OMX_TOLD_CLOCKS; i++) {
        auto which = static_cast<omx_told_clock>(i);
        auto before = load(page.clock[i].ahead), after = moment_of(ahead[i]), least = load(page.clock[i].least);
        auto seen = omx_sum(moment_of(read_clock(base_of(which)) + ahead_), before);
        if (omx_is_before(after, before) && omx_is_before(least, seen)) least = seen;
        if (set_ && which != OMX_RAW) least = {};
        store(page.clock[i].ahead, after);
        store(page.clock[i].least, least);
    }
    page.sequence = page.sequence + 1;
    set_ = false;
}

std::optional<timespec> GuestClocks::read(clockid_t id) const {
    auto which = told_clock(id);
    if (!which) return std::nullopt;
    auto& clock = page_->clock[*which];
    auto t = omx_sum(moment_of(read_clock(base_of(*which)) + ahead_), load(clock.ahead));
    if (auto least = load(clock.least); omx_is_before(t, least)) t = least;
    return timespec{t.seconds, t.nanoseconds};
}

std::optional<timespec> GuestClocks::in_monotonic(clockid_t id, const timespec& t) const {
    auto which = told_clock(id);
    if (!which || t.tv_sec < 0 || t.tv_nsec < 0 || t.tv_nsec >= kSecondNs) return std::nullopt;
    auto ahead = load(page_->clock[*which].ahead);
    omx_moment m{t.tv_sec - ahead.seconds, t.tv_nsec - ahead.nanoseconds};
    if (m.nanoseconds < 0) m.nanoseconds += kSecondNs, m.seconds--;
    if (m.seconds < 0) m = {};                           // before home's start: long over
    return timespec{m.seconds, m.nanoseconds};
}

std::optional<LentMoment> GuestClocks::lend(const timespec& moment) {
    if (free_moments_.empty()) return std::nullopt;
    LentMoment lent(free_moments_, free_moments_.back());
    free_moments_.pop_back();
    std::memcpy(reinterpret_cast<char*>(page_.get()) + lent.offset(), &moment, sizeof moment);
    return lent;
}

}  // namespace omx
