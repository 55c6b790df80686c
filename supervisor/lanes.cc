#include "supervisor/lanes.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include "remote/pass_socket.h"

namespace omx {

namespace {

// To where the link goes, without asking for the name again, and without waiting: what is sent before the connection
// stands leaves once it does, and if it never stands the lane ends like any other.
Result<UniqueFd> connect_beside(int link) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    if (getpeername(link, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return fail_errno("getpeername");
    UniqueFd socket(::socket(peer.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return fail_errno("socket");
    if (peer_is_near(link)) send_unpaced(socket.get());
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&peer), size) != 0 && errno != EINPROGRESS)
        return fail_errno("connect");
    return socket;
}

}  // namespace

Lanes::Lanes(Loop& loop, const Link& link, UniqueFd door, Handler on_readable)
    : loop_(loop), link_(link), door_(std::move(door)), on_readable_(std::move(on_readable)) {
    rlimit limit{};
    descriptors_ = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

Result<UniqueFd> Lanes::connect(const LaneAsk& ask) {
    if (!door_) return connect_beside(link_.fd());
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return fail_errno("socketpair");
    UniqueFd ours(pair[0]), theirs(pair[1]);
    OMX_TRY(pass_socket(door_.get(), theirs.get(), ask.lane));
    return ours;
}

void Lanes::open(const LaneAsk& ask) {
    if (lanes_.size() >= kMost) return;
    auto socket = connect(ask);
    if (!socket) return;
    // A comfort: it must not take the descriptors that new processes need. The lowest free number is given out.
    if (static_cast<uint64_t>(socket->get()) >= descriptors_ / 2) return;
    auto number = ++last_;
    auto lane = std::make_shared<Lane>(ask.pid, std::move(*socket), loop_);
    if (!door_) lane->link.send(FrameType::lane, 0, LaneHello{.token = ask.token, .lane = ask.lane});
    loop_.watch_readable(lane->link.fd(), [this, number] { on_readable_(number); });
    lanes_.emplace(number, std::move(lane));
}

std::shared_ptr<Lane> Lanes::find(uint64_t number) const {
    auto lane = lanes_.find(number);
    return lane == lanes_.end() ? nullptr : lane->second;
}

Lanes::Place Lanes::drop(Place place) {
    former_ += place->second->link.counters();
    loop_.unwatch_readable(place->second->link.fd());
    // Its node's end sees the end now, even if somebody still holds it here.
    shutdown(place->second->link.fd(), SHUT_RDWR);
    return lanes_.erase(place);
}

void Lanes::drop(uint64_t number) {
    if (auto place = lanes_.find(number); place != lanes_.end()) drop(place);
}

void Lanes::drop_of(HomePid process) {
    for (auto place = lanes_.begin(); place != lanes_.end();)
        place = place->second->process == process ? drop(place) : std::next(place);
}

void Lanes::drop_all() {
    for (auto place = lanes_.begin(); place != lanes_.end();) place = drop(place);
}

LinkCounters Lanes::counters() const {
    auto sum = former_;
    for (auto& [number, lane] : lanes_) sum += lane->link.counters();
    return sum;
}

}  // namespace omx
