// The yardstick of all benchmarks: what a bare TCP round trip and a bare TCP stream cost between two hosts. Uses
// nothing of omxsup, nor any library but C's, so that it measures the machine and not us.
//   pingpong server PORT        (0: any; prints "port N" once it listens; serves until it is killed)
//   pingpong client HOST PORT [--bytes N] [--mode blocking|spin|uring] [--count N] [--stream]
// The client prints {"p50_us": …, "p99_us": …, "stream_mb_s": …}, the last null without --stream. The server follows
// the mode that the client asks for.
#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <linux/io_uring.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

enum Mode : uint32_t { blocking, spin, uring, stream };
constexpr const char* kModeNames[] = {"blocking", "spin", "uring"};
constexpr uint32_t kMagic = 0x676e6970;
constexpr size_t kMaxBytes = 16u << 20, kStreamWrite = 1u << 20;
constexpr auto kSpin = std::chrono::microseconds(200);
constexpr auto kStreamTime = std::chrono::seconds(1);

struct Greeting { uint32_t magic = kMagic, mode = blocking, bytes = 64; };

[[noreturn]] void die(const char* what) {
    std::fprintf(stderr, "pingpong: %s: %s\n", what, errno ? std::strerror(errno) : "wrong");
    std::exit(1);
}

bool send_all(int fd, const char* data, size_t size) {
    while (size > 0) {
        auto sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        data += sent;
        size -= static_cast<size_t>(sent);
    }
    return true;
}

bool receive_all(int fd, char* data, size_t size) {
    while (size > 0) {
        auto got = recv(fd, data, size, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        data += got;
        size -= static_cast<size_t>(got);
    }
    return true;
}

// Looks for at most kSpin before it sleeps.
bool receive_spinning(int fd, char* data, size_t size) {
    auto deadline = Clock::now() + kSpin;
    while (size > 0 && Clock::now() < deadline) {
        auto got = recv(fd, data, size, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
        if (got < 0) continue;
        data += got;
        size -= static_cast<size_t>(got);
    }
    return receive_all(fd, data, size);
}

// ---- io_uring by hand ----

class Ring {
public:
    Ring() {
        io_uring_params p{};
        p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
        fd_ = static_cast<int>(syscall(SYS_io_uring_setup, 8, &p));
        if (fd_ < 0) {
            p = {};
            fd_ = static_cast<int>(syscall(SYS_io_uring_setup, 8, &p));
        }
        if (fd_ < 0) die("io_uring_setup");
        auto sq = map(p.sq_off.array + p.sq_entries * sizeof(uint32_t), IORING_OFF_SQ_RING);
        auto cq = map(p.cq_off.cqes + p.cq_entries * sizeof(io_uring_cqe), IORING_OFF_CQ_RING);
        sqes_ = reinterpret_cast<io_uring_sqe*>(map(p.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
        sq_tail_ = word(sq, p.sq_off.tail);
        sq_mask_ = *word(sq, p.sq_off.ring_mask);
        sq_array_ = word(sq, p.sq_off.array);
        cq_head_ = word(cq, p.cq_off.head);
        cq_tail_ = word(cq, p.cq_off.tail);
        cq_mask_ = *word(cq, p.cq_off.ring_mask);
        cqes_ = reinterpret_cast<io_uring_cqe*>(cq + p.cq_off.cqes);
    }
    void add(uint8_t operation, int fd, char* data, size_t size) {
        auto tail = *sq_tail_;
        auto& sqe = sqes_[tail & sq_mask_];
        sqe = {};
        sqe.opcode = operation;
        sqe.fd = fd;
        sqe.addr = reinterpret_cast<uintptr_t>(data);
        sqe.len = static_cast<uint32_t>(size);
        sqe.msg_flags = operation == IORING_OP_RECV ? MSG_WAITALL : MSG_WAITALL | MSG_NOSIGNAL;
        sq_array_[tail & sq_mask_] = tail & sq_mask_;
        __atomic_store_n(sq_tail_, tail + 1, __ATOMIC_RELEASE);
        ++added_;
    }
    // All that was added has been done, each over `size` bytes.
    bool run(size_t size) {
        bool good = true;
        for (unsigned done = 0, submitted = 0; done < added_;) {
            auto entered = syscall(SYS_io_uring_enter, fd_, added_ - submitted, added_ - done, IORING_ENTER_GETEVENTS,
                                   nullptr, 0);
            if (entered < 0 && errno != EINTR) die("io_uring_enter");
            submitted += entered > 0 ? static_cast<unsigned>(entered) : 0;
            auto head = *cq_head_;
            for (; head != __atomic_load_n(cq_tail_, __ATOMIC_ACQUIRE); ++head, ++done)
                good &= cqes_[head & cq_mask_].res == static_cast<int>(size);
            __atomic_store_n(cq_head_, head, __ATOMIC_RELEASE);
        }
        added_ = 0;
        return good;
    }

private:
    char* map(size_t size, uint64_t what) const {
        auto at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, static_cast<off_t>(what));
        if (at == MAP_FAILED) die("mmap of the ring");
        return static_cast<char*>(at);
    }
    static uint32_t* word(char* base, uint32_t offset) { return reinterpret_cast<uint32_t*>(base + offset); }

    int fd_;
    io_uring_sqe* sqes_;
    io_uring_cqe* cqes_;
    uint32_t *sq_tail_, *sq_array_, *cq_head_, *cq_tail_;
    uint32_t sq_mask_, cq_mask_;
    unsigned added_ = 0;
};

// ---- server ----

void echo(int fd, const Greeting& g) {
    std::vector<char> data(g.bytes);
    if (g.mode == uring) {
        Ring ring;
        ring.add(IORING_OP_RECV, fd, data.data(), data.size());
        while (ring.run(data.size())) {
            // The answer and the wait for the next question in one system call; the answer leaves first.
            ring.add(IORING_OP_SEND, fd, data.data(), data.size());
            ring.add(IORING_OP_RECV, fd, data.data(), data.size());
        }
        return;
    }
    auto receive = g.mode == spin ? receive_spinning : receive_all;
    while (receive(fd, data.data(), data.size()) && send_all(fd, data.data(), data.size())) {}
}

// Reads to the end and says how much came.
void swallow(int fd) {
    std::vector<char> data(kStreamWrite);
    uint64_t total = 0;
    for (ssize_t got; (got = recv(fd, data.data(), data.size(), 0)) > 0;) total += static_cast<uint64_t>(got);
    send_all(fd, reinterpret_cast<char*>(&total), sizeof total);
}

void serve(int fd) {
    Greeting g;
    if (!receive_all(fd, reinterpret_cast<char*>(&g), sizeof g)) return;
    if (g.magic != kMagic || g.bytes == 0 || g.bytes > kMaxBytes || g.mode > stream) return;
    if (g.mode == stream) swallow(fd);
    else echo(fd, g);
}

void no_delay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

[[noreturn]] int server(uint16_t port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in name{};
    socklen_t size = sizeof name;
    name.sin_family = AF_INET;
    name.sin_port = htons(port);
    if (bind(listener, reinterpret_cast<sockaddr*>(&name), size) != 0 || listen(listener, 8) != 0) die("listening");
    if (getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size) != 0) die("getsockname");
    std::printf("port %d\n", ntohs(name.sin_port));
    std::fflush(stdout);
    for (;;) {
        int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) continue;
        no_delay(fd);
        serve(fd);
        close(fd);
    }
}

// ---- client ----

int connect_to(const char* host, const char* port) {
    addrinfo hints{}, *list = nullptr;
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(host, port, &hints, &list) != 0) die("looking up the host");
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, list->ai_addr, list->ai_addrlen) != 0) die("connecting");
    freeaddrinfo(list);
    no_delay(fd);
    return fd;
}

double microseconds(Clock::duration d) { return std::chrono::duration<double, std::micro>(d).count(); }

std::vector<double> ping(int fd, const Greeting& g, size_t count) {
    std::vector<char> data(g.bytes, 'x'), answer(g.bytes);
    if (!send_all(fd, reinterpret_cast<const char*>(&g), sizeof g)) die("greeting");
    Ring* ring = g.mode == uring ? new Ring : nullptr;
    auto receive = g.mode == spin ? receive_spinning : receive_all;
    std::vector<double> times;
    size_t warm_up = count / 10;
    for (size_t i = 0; i < count + warm_up; ++i) {
        auto before = Clock::now();
        bool good;
        if (ring) {
            ring->add(IORING_OP_SEND, fd, data.data(), data.size());
            ring->add(IORING_OP_RECV, fd, answer.data(), answer.size());
            good = ring->run(data.size());
        } else {
            good = send_all(fd, data.data(), data.size()) && receive(fd, answer.data(), answer.size());
        }
        if (!good || answer != data) die("round trip");
        if (i >= warm_up) times.push_back(microseconds(Clock::now() - before));
    }
    delete ring;
    std::sort(times.begin(), times.end());
    return times;
}

double stream_rate(int fd) {
    Greeting g{.mode = stream};
    std::vector<char> data(kStreamWrite, 'x');
    if (!send_all(fd, reinterpret_cast<const char*>(&g), sizeof g)) die("greeting");
    auto start = Clock::now();
    uint64_t sent = 0, arrived = 0;
    for (; Clock::now() - start < kStreamTime; sent += data.size())
        if (!send_all(fd, data.data(), data.size())) die("streaming");
    shutdown(fd, SHUT_WR);
    if (!receive_all(fd, reinterpret_cast<char*>(&arrived), sizeof arrived) || arrived != sent) die("stream's end");
    return static_cast<double>(sent) / microseconds(Clock::now() - start);      // bytes per µs: MB per s
}

int client(int argc, char** argv) {
    Greeting g;
    size_t count = 20000;
    bool with_stream = false;
    for (int i = 4; i < argc; ++i) {
        std::string option = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
        if (option == "--stream") with_stream = true;
        else if (value.empty()) die(("no value for " + option).c_str());
        else if (option == "--bytes") g.bytes = static_cast<uint32_t>(std::stoul(value)), ++i;
        else if (option == "--count") count = std::stoul(value), ++i;
        else if (option == "--mode") {
            auto mode = std::find(std::begin(kModeNames), std::end(kModeNames), value);
            if (mode == std::end(kModeNames)) die("--mode is blocking, spin or uring");
            g.mode = static_cast<uint32_t>(mode - std::begin(kModeNames)), ++i;
        } else die(("unknown option " + option).c_str());
    }
    if (g.bytes == 0 || g.bytes > kMaxBytes || count == 0) die("--bytes is 1 to 16777216, --count at least 1");
    int fd = connect_to(argv[2], argv[3]);
    auto times = ping(fd, g, count);
    close(fd);
    auto at = [&](size_t percent) { return times[std::min(times.size() - 1, times.size() * percent / 100)]; };
    std::printf("{\"p50_us\": %.2f, \"p99_us\": %.2f, \"stream_mb_s\": ", at(50), at(99));
    if (with_stream) std::printf("%.1f}\n", stream_rate(connect_to(argv[2], argv[3])));
    else std::printf("null}\n");
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    std::string what = argc > 1 ? argv[1] : "";
    if (what == "server" && argc == 3) return server(static_cast<uint16_t>(std::atoi(argv[2])));
    if (what == "client" && argc >= 4) return client(argc, argv);
    std::fprintf(stderr, "usage: pingpong server PORT\n"
                         "       pingpong client HOST PORT [--bytes N] [--mode blocking|spin|uring] [--count N] "
                         "[--stream]\n");
    return 2;
}
