#include "supervisor/control.h"

#include <unistd.h>

namespace omx {

namespace {
constexpr size_t kMostClients = 64;
}  // namespace

ControlAddress::ControlAddress(pid_t supervisor) {
    auto name = fmt::format("omxsup/{}", supervisor);
    name.copy(address_.sun_path + 1, sizeof address_.sun_path - 1);
    size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

Control::Control(Loop& loop, Handler handler) : loop_(loop), handler_(std::move(handler)) {}

Control::~Control() {
    while (!clients_.empty()) drop(clients_.begin()->first);
    if (door_) loop_.unwatch_readable(door_.get());
}

Status Control::open() {
    UniqueFd door(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ControlAddress address(getpid());
    if (!door || bind(door.get(), address.get(), address.size()) < 0 || listen(door.get(), 16) < 0)
        return fail_errno("can't be asked for anything");
    door_ = std::move(door);
    loop_.watch_readable(door_.get(), [this] { on_connection(); });
    return {};
}

void Control::on_connection() {
    UniqueFd socket(accept4(door_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket || clients_.size() >= kMostClients) return;
    auto uid = peer_uid(socket.get());
    if (!uid || (*uid != geteuid() && *uid != 0)) return;
    auto number = ++last_;
    auto client = std::make_shared<Link>(plain_channel(std::move(socket)), loop_);
    loop_.watch_readable(client->fd(), [this, number] { on_client(number); });
    clients_.emplace(number, std::move(client));
}

void Control::on_client(uint64_t number) {
    for (auto held = clients_.find(number); held != clients_.end(); held = clients_.find(number)) {
        auto client = held->second;
        auto frame = client->receive();
        if (!frame) return drop(number);
        if (!*frame) return;
        auto ask = AskFrame::decode((*frame)->body);
        if ((*frame)->type != FrameType::ask || !ask) return drop(number);
        if (ask->version == kProtocolVersion) handler_(number, *ask);
        else client->send(FrameType::moved, 0, MovedFrame{.step = MovedFrame::Step::failed, .text = fmt::format(
            "its supervisor speaks protocol {}, this command {}", kProtocolVersion, ask->version)});
    }
}

void Control::drop(uint64_t number) {
    auto client = clients_.find(number);
    if (client == clients_.end()) return;
    loop_.unwatch_readable(client->second->fd());
    clients_.erase(client);
}

}  // namespace omx
