// Where a node listens, how home gets there, and who is at the other end.
#include "protocol/link.h"
#include <arpa/inet.h>
#include <charconv>
#include <chrono>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace omx {

namespace {

constexpr int kBacklog = 64;
constexpr size_t kMaxUnixPath = sizeof(sockaddr_un{}.sun_path) - 1;

struct FreeAddrinfo { void operator()(addrinfo* a) const { freeaddrinfo(a); } };
using AddrinfoList = std::unique_ptr<addrinfo, FreeAddrinfo>;

using Clock = std::chrono::steady_clock;

int left_ms(Clock::time_point deadline) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    return static_cast<int>(std::max<int64_t>(left, 0));
}

std::unexpected<Error> failed(int code, const std::string& sentence) {
    return std::unexpected(Error{sentence, code});
}

Result<AddrinfoList> resolve(const Address& address, int flags) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags | AI_NUMERICSERV;
    addrinfo* list = nullptr;
    int why = getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &list);
    if (why == 0) return AddrinfoList(list);
    if (why == EAI_SYSTEM) return fail_errno(fmt::format("looking up host '{}'", address.host));
    auto what = fmt::format("host '{}' can't be looked up ({}): give a name that this machine knows, or a numeric "
                            "address", address.host, gai_strerror(why));
    return failed(EHOSTUNREACH, what);
}

UniqueFd stream_socket(int family) { return UniqueFd(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }

Result<sockaddr_un> unix_name(const Address& address) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (address.host.empty() || address.host.size() > kMaxUnixPath)
        return fail(fmt::format("'{}': the path of a unix socket has 1 to {} bytes", address.text(), kMaxUnixPath));
    address.host.copy(name.sun_path, kMaxUnixPath);
    return name;
}

std::string listen_error(const Address& address, int code) {
    auto text = address.text();
    switch (code) {
        case EADDRINUSE:
            return fmt::format("can't listen on {}: it is in use already; end the other program or choose another port",
                               text);
        case EADDRNOTAVAIL:
            return fmt::format("can't listen on {}: this machine has no such address; see `ip address`", text);
        case EACCES:
        case EPERM:
            return fmt::format("can't listen on {}: not permitted; choose a port above 1023, or a directory that you "
                               "may write to", text);
        case ENOENT:
            return fmt::format("can't listen on {}: make the directory first", text);
        default:
            return fmt::format("can't listen on {}: {}", text, std::strerror(code));
    }
}

std::string connect_error(const Address& address, int code) {
    auto text = address.text();
    switch (code) {
        case ECONNREFUSED:
        case ENOENT:
            return fmt::format("nobody listens on {}: start `omxsup node` there, or check the address", text);
        case ETIMEDOUT:
            return fmt::format("{} does not answer: is the machine up, and does a firewall let port {} through?", text,
                               address.port);
        case EHOSTUNREACH:
        case ENETUNREACH:
            return fmt::format("no way to {}: {}; check the network with `ip route`", text, std::strerror(code));
        case EACCES:
        case EPERM:
            return fmt::format("may not connect to {}: {}", text, std::strerror(code));
        default:
            return fmt::format("can't connect to {}: {}", text, std::strerror(code));
    }
}

// A socket file outlives its listener. Only one that nobody answers is taken away.
bool remove_stale(const sockaddr_un& name) {
    auto probe = stream_socket(AF_UNIX);
    if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0) return false;
    return errno == ECONNREFUSED && unlink(name.sun_path) == 0;
}

Result<UniqueFd> listen_unix(const Address& address) {
    auto name = unix_name(address);
    if (!name) return std::unexpected(name.error());
    auto socket = stream_socket(AF_UNIX);
    if (!socket) return fail_errno("socket");
    auto bound = [&] { return bind(socket.get(), reinterpret_cast<sockaddr*>(&*name), sizeof *name) == 0; };
    if (!bound()) {
        int code = errno;
        if (code != EADDRINUSE || !remove_stale(*name) || !bound()) return failed(code, listen_error(address, code));
    }
    if (listen(socket.get(), kBacklog) != 0) return failed(errno, listen_error(address, errno));
    return socket;
}

// 0, or the errno of the failure.
int connect_within(int socket, const sockaddr* name, socklen_t bytes, Clock::time_point deadline) {
    if (connect(socket, name, bytes) == 0) return 0;
    // EAGAIN: a unix listener whose backlog is full; it can't be waited for by poll.
    if (errno != EINPROGRESS && errno != EINTR) return errno;
    pollfd writable{socket, POLLOUT, 0};
    for (;;) {
        int ready = poll(&writable, 1, left_ms(deadline));
        if (ready < 0 && errno == EINTR) continue;
        if (ready < 0) return errno;
        if (ready == 0) return ETIMEDOUT;
        int code = 0;
        socklen_t size = sizeof code;
        return getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &size) == 0 ? code : errno;
    }
}

Result<UniqueFd> connect_unix(const Address& address, Clock::time_point deadline) {
    auto name = unix_name(address);
    if (!name) return std::unexpected(name.error());
    auto socket = stream_socket(AF_UNIX);
    if (!socket) return fail_errno("socket");
    int code = connect_within(socket.get(), reinterpret_cast<sockaddr*>(&*name), sizeof *name, deadline);
    if (code != 0) return failed(code, connect_error(address, code));
    return socket;
}

template <class Int> bool whole_number(std::string_view text, Int& value) {
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

Result<Address> Address::parse(std::string_view text) {
    Address a;
    if (text.starts_with("unix:")) {
        a.is_unix = true;
        a.host = text.substr(5);
        if (auto name = unix_name(a); !name) return std::unexpected(name.error());
        if (a.host.find('\0') != std::string::npos) return fail("the path of a unix socket has no zero bytes");
        return a;
    }
    auto colon = text.rfind(':');
    if (colon == text.npos)
        return fail(fmt::format("'{}' is no address: give HOST:PORT, [V6]:PORT or unix:PATH", text));
    auto host = text.substr(0, colon);
    bool bracketed = host.starts_with('[') && host.ends_with(']');
    if (bracketed) host = host.substr(1, host.size() - 2);
    else if (host.find(':') != host.npos)
        return fail(fmt::format("'{}': put an IPv6 address in brackets, as in [::1]:7777", text));
    if (host.empty() || host.find_first_of(" \t\n[]/") != host.npos || host.find('\0') != host.npos)
        return fail(fmt::format("'{}' names no host: give HOST:PORT, [V6]:PORT or unix:PATH", text));
    if (!whole_number(text.substr(colon + 1), a.port))
        return fail(fmt::format("'{}': the port is a number from 0 to 65535", text));
    a.host = host;
    return a;
}

std::string Address::text() const {
    if (is_unix) return "unix:" + host;
    return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

// The name itself is trusted to mean what it says: a resolver that lies about localhost is root's doing.
bool Address::loopback() const {
    in_addr v4{};
    in6_addr v6{};
    if (is_unix || host == "localhost" || host == "ip6-localhost") return true;
    if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, host.c_str(), &v6) != 1) return false;
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

Result<UniqueFd> listen_on(const Address& address) {
    if (address.is_unix) return listen_unix(address);
    auto list = resolve(address, AI_PASSIVE);
    if (!list) return std::unexpected(list.error());
    int code = EADDRNOTAVAIL;
    for (auto* entry = list->get(); entry; entry = entry->ai_next) {
        auto socket = stream_socket(entry->ai_family);
        int on = 1;
        if (socket) setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (socket && bind(socket.get(), entry->ai_addr, entry->ai_addrlen) == 0 && listen(socket.get(), kBacklog) == 0)
            return socket;
        code = errno;
    }
    return failed(code, listen_error(address, code));
}

Result<UniqueFd> connect_to(const Address& address, int timeout_ms) {
    auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
    if (address.is_unix) return connect_unix(address, deadline);
    auto list = resolve(address, 0);
    if (!list) return std::unexpected(list.error());
    int code = EADDRNOTAVAIL;
    for (auto* entry = list->get(); entry; entry = entry->ai_next) {
        auto socket = stream_socket(entry->ai_family);
        code = socket ? connect_within(socket.get(), entry->ai_addr, entry->ai_addrlen, deadline) : errno;
        if (code != 0) continue;
        int on = 1;
        setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return socket;
    }
    return failed(code, connect_error(address, code));
}

}  // namespace omx
