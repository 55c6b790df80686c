// The channel without a cipher: the socket itself.
#include "protocol/link.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <algorithm>

namespace omx {

namespace {

constexpr int kUnsentBytes = 256 << 10;

constexpr uint32_t kNearMicroseconds = 1000;

// A peer whose machine vanished without a word must not hold guests or deputies for ever: ask after a third of the time,
// and give up at its end. The last option is for what has been sent and isn't acknowledged: then nobody asks.
// Small frames must not wait for others. Nothing of this means anything to a unix socket.
void prepare(int socket, unsigned patience_s) {
    auto set = [socket](int level, int option, int value) { setsockopt(socket, level, option, &value, sizeof value); };
    set(IPPROTO_TCP, TCP_NODELAY, 1);
    // What the kernel has queued can't be overtaken any more: let it hold little of what has not left yet.
    set(IPPROTO_TCP, TCP_NOTSENT_LOWAT, kUnsentBytes);
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    auto seconds = static_cast<int>(patience_s);
    set(IPPROTO_TCP, TCP_KEEPIDLE, std::max(1, seconds / 3));
    set(IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, seconds / 12));
    set(IPPROTO_TCP, TCP_KEEPCNT, 8);
    set(IPPROTO_TCP, TCP_USER_TIMEOUT, seconds * 1000);
    if (peer_is_near(socket)) send_unpaced(socket);
}

class PlainChannel : public Channel {
public:
    PlainChannel(UniqueFd socket, unsigned patience_s) : socket_(std::move(socket)) {
        prepare(socket_.get(), patience_s);
    }

    ssize_t send(const struct iovec* pieces, int count) override {
        constexpr int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
        if (count == 1)      // half a microsecond cheaper
            return retried([&] { return ::send(socket_.get(), pieces->iov_base, pieces->iov_len, flags); });
        msghdr message{};
        message.msg_iov = const_cast<iovec*>(pieces);
        message.msg_iovlen = static_cast<size_t>(count);
        return retried([&] { return ::sendmsg(socket_.get(), &message, flags); });
    }
    ssize_t receive(void* buffer, size_t size) override {
        return retried([&] { return ::recv(socket_.get(), buffer, size, MSG_DONTWAIT); });
    }
    int fd() const override { return socket_.get(); }

private:
    template <class Call> static ssize_t retried(Call call) {
        for (;;) {
            auto moved = call();
            if (moved >= 0) return moved;
            if (errno != EINTR) return -errno;
        }
    }
    UniqueFd socket_;
};

}  // namespace

bool peer_is_near(int socket) {
    tcp_info info{};
    socklen_t size = sizeof info;
    return getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_rtt > 0 &&
           info.tcpi_rtt < kNearMicroseconds;
}

void send_unpaced(int socket) {
    char name[16] = {};
    socklen_t size = sizeof name - 1;
    if (getsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name, &size) != 0) return;
    constexpr std::string_view kUnpaced = "reno";        // which every kernel has and everybody may use
    if (std::string_view(name).starts_with("bbr"))
        setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, kUnpaced.data(), kUnpaced.size());
}

std::unique_ptr<Channel> plain_channel(UniqueFd socket, unsigned patience_s) {
    return std::make_unique<PlainChannel>(std::move(socket), patience_s);
}

}  // namespace omx
