// Which user is at the other end of a connection on this machine. The kernel tells for unix sockets; for TCP over
// loopback the peer's socket stands in /proc/net/tcp with its owner.
#include "protocol/link.h"
#include <array>
#include <charconv>
#include <cstdio>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace omx {

namespace {

// One end of a TCP connection, an IPv4 address in its IPv6-mapped form: a v6 socket may talk to a v4 one.
struct End {
    std::array<uint8_t, 16> address{};
    uint16_t port = 0;
    bool operator==(const End&) const = default;

    bool loopback() const {
        static constexpr std::array<uint8_t, 13> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127};
        static constexpr std::array<uint8_t, 16> v6{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
        return address == v6 || std::memcmp(address.data(), mapped.data(), mapped.size()) == 0;
    }
    void set_v4(const void* four) {
        address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
        std::memcpy(address.data() + 12, four, 4);
    }
};

using NameCall = int (*)(int, sockaddr*, socklen_t*);

Result<End> end_of(int socket, NameCall call) {
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    if (call(socket, reinterpret_cast<sockaddr*>(&name), &size) != 0) return fail_errno("asking who is connected");
    End end;
    if (name.ss_family == AF_INET) {
        auto v4 = reinterpret_cast<sockaddr_in*>(&name);
        end.set_v4(&v4->sin_addr);
        end.port = ntohs(v4->sin_port);
    } else if (name.ss_family == AF_INET6) {
        auto v6 = reinterpret_cast<sockaddr_in6*>(&name);
        std::memcpy(end.address.data(), &v6->sin6_addr, 16);
        end.port = ntohs(v6->sin6_port);
    } else {
        return fail("the user at the other end is not known: neither TCP nor a unix socket");
    }
    return end;
}

// "0100007F:1F90": words of the address as this machine's integers, the port as a number.
bool parse_end(std::string_view text, End& end) {
    auto colon = text.find(':');
    if (colon != 8 && colon != 32) return false;
    std::array<uint8_t, 16> raw{};
    for (size_t i = 0; i < colon / 8; ++i) {
        uint32_t word = 0;
        auto digits = text.substr(i * 8, 8);
        if (std::from_chars(digits.begin(), digits.end(), word, 16).ptr != digits.end()) return false;
        std::memcpy(raw.data() + i * 4, &word, 4);
    }
    if (colon == 8) end.set_v4(raw.data());
    else end.address = raw;
    auto port = text.substr(colon + 1);
    return std::from_chars(port.begin(), port.end(), end.port, 16).ptr == port.end();
}

Result<std::string> read_all(const char* path) {
    UniqueFd file(open(path, O_RDONLY | O_CLOEXEC));
    if (!file) return fail_errno(path);
    std::string text;
    char piece[32768];
    for (;;) {
        auto got = read(file.get(), piece, sizeof piece);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_errno(path);
        if (got == 0) return text;
        text.append(piece, static_cast<size_t>(got));
    }
}

struct Line { End local, remote; unsigned state = 0; uid_t uid = 0; unsigned long inode = 0; };

bool parse_line(const std::string& text, Line& line) {
    char local[64], remote[64];
    // sl local remote state tx:rx tr:when retransmits uid timeout inode
    int fields = std::sscanf(text.c_str(), " %*d: %63s %63s %x %*s %*s %*s %u %*d %lu", local, remote, &line.state,
                             &line.uid, &line.inode);
    return fields == 5 && parse_end(local, line.local) && parse_end(remote, line.remote);
}

// The owner of the established socket that stands at `peer` and is connected to `ours`.
Result<uid_t> owner_in(const char* path, const End& peer, const End& ours) {
    auto text = read_all(path);
    if (!text) return std::unexpected(text.error());
    for (size_t at = 0; at < text->size();) {
        auto newline = text->find('\n', at);
        auto row = text->substr(at, newline - at);
        at = newline == std::string::npos ? text->size() : newline + 1;
        Line line;
        if (!parse_line(row, line) || line.local != peer || line.remote != ours) continue;
        // A socket that nobody holds any more is listed as root's: never take its uid for an answer.
        constexpr unsigned established = 1;
        if (line.state == established && line.inode != 0) return line.uid;
    }
    return fail(fmt::format("the user at the other end is not known: {} has no such connection", path));
}

Result<uid_t> unix_peer(int socket) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return fail_errno("SO_PEERCRED");
    return peer.uid;
}

}  // namespace

Result<uid_t> peer_uid(int socket) {
    int domain = 0;
    socklen_t size = sizeof domain;
    if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) return fail_errno("SO_DOMAIN");
    if (domain == AF_UNIX) return unix_peer(socket);
    auto ours = end_of(socket, getsockname);
    if (!ours) return std::unexpected(ours.error());
    auto peer = end_of(socket, getpeername);
    if (!peer) return std::unexpected(peer.error());
    if (!peer->loopback() || !ours->loopback())
        return fail("the user at the other end is not known: the connection comes from another machine");
    if (auto uid = owner_in("/proc/net/tcp", *peer, *ours)) return uid;
    return owner_in("/proc/net/tcp6", *peer, *ours);
}

}  // namespace omx
