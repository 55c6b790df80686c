#include "remote/newcomers.h"
#include <algorithm>
#include <sys/socket.h>

namespace omx {
namespace {

constexpr size_t kLaneFrameBytes = sizeof(FrameHeader) + LaneHello::kBytes;
constexpr int64_t kPartUs = 20'000;      // how often one that has come in part is looked at

}  // namespace

FirstFrame peek_first_frame(int socket) {
    std::array<std::byte, kLaneFrameBytes> bytes;
    auto n = recv(socket, bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR ? FirstFrame::nothing : FirstFrame::nonsense;
    if (n == 0) return FirstFrame::nonsense;
    FrameHeader header{};
    auto have = std::min(static_cast<size_t>(n), sizeof header);
    std::memcpy(&header, bytes.data(), have);
    if (have < sizeof header) return FirstFrame::part;
    if (header.flags != 0 || header.length > kMaxFrameBytes) return FirstFrame::nonsense;
    if (header.type == static_cast<uint16_t>(FrameType::hello)) return FirstFrame::hello;
    if (header.type != static_cast<uint16_t>(FrameType::lane) || header.length != LaneHello::kBytes)
        return FirstFrame::nonsense;
    return static_cast<size_t>(n) == kLaneFrameBytes ? FirstFrame::lane : FirstFrame::part;
}

Result<LaneHello> read_lane_hello(int socket) {
    std::array<std::byte, kLaneFrameBytes> bytes;
    if (recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT) != static_cast<ssize_t>(bytes.size()))
        return fail_errno("reading how a lane begins");
    return LaneHello::decode(View(bytes).subspan(sizeof(FrameHeader)));
}

void Newcomers::add(UniqueFd socket) {
    auto first = peek_first_frame(socket.get());
    if (first == FirstFrame::nonsense) return;
    if (first == FirstFrame::hello || first == FirstFrame::lane) return ready_(std::move(socket), first);
    // A flood: the oldest had its time, and others must get in.
    if (waiting_.size() >= kMost) leave(waiting_.begin());
    int fd = socket.get();
    waiting_.push_back({std::move(socket), Clock::now() + patience_, first == FirstFrame::part});
    if (first == FirstFrame::nothing) loop_.watch_readable(fd, [this, fd] { look(fd); });
}

void Newcomers::look(int fd) {
    auto place = std::ranges::find(waiting_, fd, [](auto& n) { return n.socket.get(); });
    if (place == waiting_.end()) return;
    auto first = peek_first_frame(fd);
    switch (first) {
        case FirstFrame::nothing: return;
        case FirstFrame::part:
            place->in_part = true;
            return loop_.unwatch_readable(fd);
        case FirstFrame::hello:
        case FirstFrame::lane: return ready_(leave(place), first);
        case FirstFrame::nonsense: leave(place);
    }
}

UniqueFd Newcomers::leave(Place place) {
    auto socket = std::move(place->socket);
    loop_.unwatch_readable(socket.get());
    waiting_.erase(place);
    return socket;
}

int64_t Newcomers::look_at_clock() {
    if (waiting_.empty()) return -1;
    std::vector<int> in_part;
    for (auto& n : waiting_)
        if (n.in_part) in_part.push_back(n.socket.get());
    for (int fd : in_part) look(fd);
    auto now = Clock::now();
    while (!waiting_.empty() && waiting_.front().until <= now) leave(waiting_.begin());
    if (waiting_.empty()) return -1;
    int64_t left_us = std::chrono::ceil<std::chrono::microseconds>(waiting_.front().until - now).count();
    return std::ranges::any_of(waiting_, &Newcomer::in_part) ? std::min(left_us, kPartUs) : left_us;
}

}  // namespace omx
