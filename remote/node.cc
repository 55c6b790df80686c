#include "remote/node.h"
#include "loader/file_cache.h"
#include "protocol/link.h"
#include "protocol/loop.h"
#include "remote/debug.h"
#include "remote/newcomers.h"
#include "remote/pass_socket.h"
#include "remote/sandbox.h"
#include "remote/session.h"
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <map>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

namespace omx {
namespace {

constexpr int kOurFailure = 125;
constexpr int kPatienceMs = 3000;              // for sessions to end when the node does
constexpr int64_t kSpareDelayUs = 200'000;      // a new spare is made when the job that took the last one has begun

// A session as the daemon knows it.
struct Session {
    UniqueFd pidfd;            // signals by it can't hit a stranger who got the number
    UniqueFd cache;            // the daemon's end
    UniqueFd lane_door;        // lanes that home opens are passed over it
    LaneToken lane_token{};    // and known by this
    UniqueFd news;             // home's boot id comes here
    std::string owner;         // for the file cache: user and home
};

std::optional<BigPageFiles> big_pages(const NodeOptions& options) {
    if (std::ranges::find(options.without, "big-pages") != options.without.end()) return std::nullopt;
    auto files = make_big_page_files();
    if (!files) OMX_DEBUG("the file cache: {}", files.error().what);
    return files ? std::optional(std::move(*files)) : std::nullopt;
}

class Node {
public:
    Node(const NodeOptions& options, Loop& loop)
        : options_(options), loop_(loop), cache_(options.cache_bytes, big_pages(options)),
          newcomers_(loop, [this](UniqueFd socket, FirstFrame first) {
              if (ending_) return;
              first == FirstFrame::lane ? begin_lane(std::move(socket)) : begin_job(std::move(socket));
          }) {}
    Status start();
    Status serve();            // until SIGTERM or SIGINT
    void end_sessions();

private:
    void on_signal();
    void on_connection();
    void begin_job(UniqueFd);
    void begin_lane(UniqueFd);
    void make_spare();
    void refuse(UniqueFd socket, const std::string& why);
    void on_news(pid_t);
    void on_cache_request(pid_t);
    void drop_cache(Session&);
    void reap();

    const NodeOptions& options_;
    Loop& loop_;
    FileCache cache_;
    Newcomers newcomers_;
    UniqueFd listener_, signals_, latency_;
    std::map<pid_t, Session> sessions_;
    // Making namespaces takes milliseconds: one session, its worker locked in already, waits for the next connection.
    pid_t spare_ = 0;
    UniqueFd spare_door_;
    bool ending_ = false;
};

// The kernel takes the file's being open as the wish: an idle CPU then polls instead of halting.
Result<UniqueFd> hold_latency() {
    UniqueFd fd(open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC));
    int32_t microseconds = 0;
    if (!fd || write(fd.get(), &microseconds, sizeof microseconds) != sizeof microseconds)
        return fail_errno("--low-latency: can't hold /dev/cpu_dma_latency at 0 (root may, or whom an udev rule lets)");
    return fd;
}

std::string bound_address(int socket, const Address& wanted) {
    if (wanted.is_unix) return wanted.text();
    sockaddr_storage at{};
    socklen_t size = sizeof at;
    Address real = wanted;
    // The port is at the same place in both families.
    if (getsockname(socket, reinterpret_cast<sockaddr*>(&at), &size) == 0)
        real.port = ntohs(reinterpret_cast<sockaddr_in*>(&at)->sin_port);
    return real.text();
}

Status Node::start() {
    auto address = Address::parse(options_.listen);
    if (!address) return std::unexpected(address.error());
    if (!address->loopback() && !options_.insecure)
        return fail(fmt::format("{} can be reached from other machines, whose users this node can't tell apart yet: "
                                "listen on 127.0.0.1 or unix:PATH, or say --insecure", address->text()));
    if (options_.low_latency) {
        auto held = hold_latency();
        if (!held) return std::unexpected(held.error());
        latency_ = std::move(*held);
    }
    sigset_t set;
    sigemptyset(&set);
    for (int s : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, s);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    signals_.reset(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    if (!signals_) return fail_errno("signalfd");
    make_spare();                              // before anybody can see that we listen
    auto listener = listen_on(*address);
    if (!listener) return std::unexpected(listener.error());
    listener_ = std::move(*listener);
    loop_.watch_readable(signals_.get(), [this] { on_signal(); });
    loop_.watch_readable(listener_.get(), [this] { on_connection(); });
    if (options_.insecure)
        fmt::print(stderr, "omxsup node: --insecure: whoever reaches {} can run any program here as user {}\n",
                   bound_address(listener_.get(), *address), geteuid());
    fmt::print("omxsup node {} listening on {}\n", node_name(options_), bound_address(listener_.get(), *address));
    std::fflush(stdout);
    return {};
}

Status Node::serve() {
    while (!ending_) {
        auto wait_us = newcomers_.look_at_clock();
        if (!spare_) wait_us = wait_us < 0 ? kSpareDelayUs : std::min(wait_us, kSpareDelayUs);
        auto turn = loop_.run_once(wait_us);
        if (!turn) return std::unexpected(turn.error());
        if (!*turn && !spare_) make_spare();
    }
    return {};
}

void Node::on_signal() {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD) ending_ = true;
    reap();
}

void Node::reap() {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        auto it = sessions_.find(pid);
        if (it == sessions_.end()) continue;
        if (it->second.news) loop_.unwatch_readable(it->second.news.get());
        drop_cache(it->second);
        sessions_.erase(it);
        if (pid == spare_) spare_ = 0;
    }
}

void Node::on_connection() {
    UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return;
    if (!options_.insecure)
        if (auto fine = check_peer(socket.get()); !fine) return refuse(std::move(socket), fine.error().what);
    newcomers_.add(std::move(socket));
}

void Node::begin_job(UniqueFd socket) {
    if (!spare_) make_spare();
    if (!spare_) return refuse(std::move(socket), "the node can't make another process or descriptor");
    auto passed = pass_socket(spare_door_.get(), socket.get());
    spare_ = 0;
    spare_door_.reset();
    if (!passed) refuse(std::move(socket), passed.error().what);
}

// In a time that tells nothing of where they differ.
bool same_token(const LaneToken& a, const LaneToken& b) {
    unsigned difference = 0;
    for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned>(a[i] ^ b[i]);
    return difference == 0;
}

// Whatever is wrong with it: the connection is closed, and home goes on without a lane.
void Node::begin_lane(UniqueFd socket) {
    auto hello = read_lane_hello(socket.get());
    if (!hello || hello->version != kProtocolVersion) return;
    for (auto& [pid, s] : sessions_)
        if (s.lane_door && same_token(s.lane_token, hello->token))
            (void)pass_socket(s.lane_door.get(), socket.get(), hello->lane);
}

// Waiting until the peer has read it is a child's business.
void Node::refuse(UniqueFd socket, const std::string& why) {
    pid_t child = fork();
    if (child == 0) _exit(refuse_peer(std::move(socket), why));
    if (child < 0) refuse_without_waiting(std::move(socket), why);
}

void Node::make_spare() {
    auto cache = cache_socketpair();
    int news[2], doors[2], lane_doors[2];
    if (!cache || pipe2(news, O_CLOEXEC | O_NONBLOCK) < 0) {
        fmt::print(stderr, "omxsup node: no descriptors left\n");
        return;
    }
    UniqueFd news_reader(news[0]), news_writer(news[1]);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, doors) < 0) return;
    UniqueFd our_door(doors[0]), its_door(doors[1]);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, lane_doors) < 0) return;
    UniqueFd our_lane_door(lane_doors[0]), its_lane_door(lane_doors[1]);
    LaneToken token;
    if (getrandom(token.data(), token.size(), 0) != static_cast<ssize_t>(token.size())) return;
    pid_t daemon = getpid(), pid = fork();
    if (pid < 0) {
        fmt::print(stderr, "omxsup node: can't make a session: {}\n", strerror(errno));
        return;
    }
    if (pid == 0) {
        setsid();      // ^C at the node's terminal is for the daemon, which then ends us
        if (!die_with_parent(daemon)) _exit(1);
        _exit(run_session({.socket = {}, .door = std::move(its_door), .cache = std::move(cache->second),
                           .lane_door = std::move(its_lane_door), .lane_token = token, .news = std::move(news_writer)},
                          options_));
    }
    auto& s = sessions_[pid];
    s.pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    s.cache = std::move(cache->first);
    s.lane_door = std::move(our_lane_door);
    s.lane_token = token;
    s.news = std::move(news_reader);
    loop_.watch_readable(s.news.get(), [this, pid] { on_news(pid); });
    spare_ = pid;
    spare_door_ = std::move(our_door);
}

// Which home it is says the worker, after the hello: only then its requests to the cache are served.
void Node::on_news(pid_t pid) {
    auto& s = sessions_.at(pid);
    char text[128];
    auto n = read(s.news.get(), text, sizeof text);
    loop_.unwatch_readable(s.news.get());
    s.news.reset();
    if (n <= 0) return drop_cache(s);
    s.owner = fmt::format("{}@{}", geteuid(), std::string_view(text, static_cast<size_t>(n)));
    loop_.watch_readable(s.cache.get(), [this, pid] { on_cache_request(pid); });
}

void Node::on_cache_request(pid_t pid) {
    auto& s = sessions_.at(pid);
    if (!cache_.serve(s.cache.get(), s.owner)) drop_cache(s);
}

void Node::drop_cache(Session& s) {
    if (!s.cache) return;
    loop_.unwatch_readable(s.cache.get());
    s.cache.reset();
}

void Node::end_sessions() {
    loop_.unwatch_readable(listener_.get());
    spare_door_.reset();                       // it sees its end
    for (int signal : {SIGTERM, SIGKILL}) {
        for (auto& [pid, s] : sessions_) syscall(SYS_pidfd_send_signal, s.pidfd.get(), signal, nullptr, 0);
        auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
        while (!sessions_.empty() && std::chrono::steady_clock::now() < until)
            if (!loop_.run_once(100'000)) break;
    }
}

}  // namespace

int node_main(const NodeOptions& options) {
    LoopKind kind = options.link == "epoll"      ? LoopKind::epoll
                    : options.link == "io_uring" ? LoopKind::io_uring
                                                 : LoopKind::automatic;
    auto loop = Loop::make(kind);
    Status done = loop ? Status() : Status(std::unexpected(loop.error()));
    if (done) {
        Node node(options, **loop);
        done = node.start();
        if (done) done = node.serve();
        if (done) node.end_sessions();
    }
    if (done) return 0;
    fmt::print(stderr, "omxsup: {}\n", done.error().what);
    return kOurFailure;
}

int embedded_node(int socket, int lane_door, const NodeOptions& options) {
    if (!die_with_parent(getppid())) return 1;
    // The peer is our parent: no need to ask who it is.
    return run_session({.socket = UniqueFd(socket), .door = {}, .cache = {}, .lane_door = UniqueFd(lane_door),
                        .lane_token = {}, .news = {}}, options);
}

}  // namespace omx
