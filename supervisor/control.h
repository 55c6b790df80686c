// Where commands (ps, migrate, detach) reach a supervisor: a socket named after it, for its own user and root, on this
// machine only. What they ask is the job's business: see job_control.cc.
#pragma once
#include <sys/socket.h>
#include <sys/un.h>

#include <map>
#include <memory>

#include "protocol/link.h"

namespace omx {

// In the abstract namespace: nothing is left behind by a supervisor that is killed. Whoever connects asks the kernel
// who is at the other end.
struct ControlAddress {
    explicit ControlAddress(pid_t supervisor);
    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
    socklen_t size() const { return size_; }

private:
    sockaddr_un address_{.sun_family = AF_UNIX, .sun_path = {}};
    socklen_t size_;
};

class Control {
public:
    using Handler = std::function<void(uint64_t client, const AskFrame&)>;
    Control(Loop&, Handler);
    ~Control();
    // Whatever is wrong with it: the job goes on, but nobody can ask it for anything.
    Status open();

    // To a client that is gone nothing is sent.
    template <class Message> void send(uint64_t client, FrameType type, const Message& message) {
        if (auto c = clients_.find(client); c != clients_.end()) c->second->send(type, 0, message);
    }
    bool has(uint64_t client) const { return clients_.contains(client); }

private:
    void on_connection();
    void on_client(uint64_t);
    void drop(uint64_t);

    Loop& loop_;
    Handler handler_;
    UniqueFd door_;
    uint64_t last_ = 0;
    std::map<uint64_t, std::shared_ptr<Link>> clients_;
};

}  // namespace omx
