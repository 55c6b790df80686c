#include "loader/cache_socket.h"
#include <array>
#include <sys/socket.h>

namespace omx {

namespace {

constexpr size_t kMaxPacketBytes = 1024;
constexpr size_t kMaxReasonBytes = 512;

template <class T> Result<T> whole(const Reader& in, T value, const char* what) {
    if (in.finished()) return value;
    return std::unexpected(Error{fmt::format("malformed {} on the file cache's socket", what), EPROTO});
}

// Takes every descriptor out of the message, so that none is left open by accident.
void take_files(msghdr& message, CachePacket& packet) {
    for (auto* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; ++i) {
            int fd;
            std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
            packet.files_lost |= packet.file.valid();
            packet.file.reset(fd);
        }
    }
    packet.files_lost |= (message.msg_flags & MSG_CTRUNC) != 0;
}

}  // namespace

Bytes CacheRequest::encode() const {
    Bytes out;
    Writer w(out);
    w.put(operation);
    key.encode(w);
    return out;
}

Result<CacheRequest> CacheRequest::decode(View data) {
    Reader in(data);
    CacheRequest r;
    r.operation = in.get<CacheOperation>();
    r.key = FileKey::read(in);
    if (r.operation != CacheOperation::find && r.operation != CacheOperation::store) in.refuse();
    return whole(in, r, "request");
}

Bytes CacheAnswer::encode() const {
    Bytes out;
    Writer w(out);
    w.put(outcome);
    w.text(std::string_view(reason).substr(0, kMaxReasonBytes));
    return out;
}

Result<CacheAnswer> CacheAnswer::decode(View data) {
    Reader in(data);
    CacheAnswer a;
    a.outcome = in.get<CacheOutcome>();
    a.reason = in.text();
    if (a.outcome < CacheOutcome::content || a.outcome > CacheOutcome::refused) in.refuse();
    return whole(in, std::move(a), "answer");
}

Status send_packet(int socket, const Bytes& data, int file, int flags) {
    iovec piece{const_cast<std::byte*>(data.data()), data.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    if (file >= 0) {
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        auto part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof file);
        std::memcpy(CMSG_DATA(part), &file, sizeof file);
    }
    for (;;) {
        if (sendmsg(socket, &message, flags | MSG_NOSIGNAL) >= 0) return {};
        if (errno != EINTR) return fail_errno("sending on the file cache's socket");
    }
}

Result<std::optional<CachePacket>> receive_packet(int socket, int flags) {
    CachePacket packet;
    packet.data.resize(kMaxPacketBytes);
    iovec piece{packet.data.data(), packet.data.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(4 * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t got;
    do got = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN) return std::nullopt;
    if (got < 0) return fail_errno("receiving on the file cache's socket");
    take_files(message, packet);
    if (got == 0) return std::unexpected(Error{"the other end of the file cache's socket is gone", ECONNRESET});
    if (message.msg_flags & MSG_TRUNC) return std::unexpected(Error{"a packet too long for the file cache", EPROTO});
    packet.data.resize(static_cast<size_t>(got));
    return packet;
}

}  // namespace omx
