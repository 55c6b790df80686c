// Connections to the node that have not said yet what they are: a job's link begins with a hello, a lane with a frame
// that names its session. Only looked at, never read, so that a link's hello stays for its worker.
//
// Whoever connects may say nothing, or garbage: there are few of them at a time, for a short time, and none is waited
// for.
#pragma once
#include "protocol/frames.h"
#include "protocol/loop.h"
#include "protocol/unique_fd.h"
#include <vector>

namespace omx {

enum class FirstFrame {
    nothing,      // yet
    part,         // of something that may become one of the next two
    hello,
    lane,         // all of it is there
    nonsense,     // or the end
};
FirstFrame peek_first_frame(int socket);
// Reads what peek_first_frame called a lane, and not a byte more.
Result<LaneHello> read_lane_hello(int socket);

class Newcomers {
public:
    static constexpr size_t kMost = 64;
    static constexpr std::chrono::milliseconds kPatience{10'000};
    // Called with each that begins with `hello` or `lane`.
    using Ready = std::function<void(UniqueFd, FirstFrame)>;
    Newcomers(Loop& loop, Ready ready, std::chrono::milliseconds patience = kPatience)
        : loop_(loop), ready_(std::move(ready)), patience_(patience) {}
    ~Newcomers() { while (!waiting_.empty()) leave(waiting_.begin()); }

    void add(UniqueFd);
    // To be called each turn: says for how long the next may wait (µs; -1: for ever).
    int64_t look_at_clock();

private:
    using Clock = std::chrono::steady_clock;
    struct Newcomer {
        UniqueFd socket;
        Clock::time_point until;
        bool in_part = false;      // stays readable, so it is looked at by the clock instead
    };
    using Place = std::vector<Newcomer>::iterator;
    void look(int fd);
    UniqueFd leave(Place);

    Loop& loop_;
    Ready ready_;
    std::chrono::milliseconds patience_;
    std::vector<Newcomer> waiting_;      // oldest first
};

}  // namespace omx
