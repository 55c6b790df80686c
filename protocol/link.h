// The one ordered, authenticated connection between a supervisor and a worker.
// Frames of priority `urgent` (calls, replies, signals) overtake queued `bulk` frames (file contents), never each
// other.
#pragma once
#include "protocol/frames.h"
#include "protocol/loop.h"
#include "protocol/unique_fd.h"
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <sys/uio.h>

namespace omx {

// HOST:PORT, [V6]:PORT or unix:PATH.
struct Address {
    bool is_unix = false;
    std::string host;     // or the path
    uint16_t port = 0;
    static Result<Address> parse(std::string_view);
    std::string text() const;
    bool loopback() const;      // true for unix sockets too: only this machine can connect
};
// Both give non-blocking, close-on-exec sockets; their errors name the remedy.
Result<UniqueFd> listen_on(const Address&);
Result<UniqueFd> connect_to(const Address&, int timeout_ms);        // TCP_NODELAY set
// uid of the process at the other end: SO_PEERCRED for unix sockets; for loopback TCP the peer's socket is looked
// up in /proc/net/tcp{,6}. An error means "not known".
Result<uid_t> peer_uid(int socket);

// The seam for a cipher: bytes in, bytes out, non-blocking. PlainChannel is the only one yet; TLS 1.3 comes later.
class Channel {
public:
    virtual ~Channel() = default;
    // >0 bytes moved, 0 end of stream (receive), -EAGAIN would block, other -errno: broken.
    virtual ssize_t send(const iovec*, int count) = 0;
    virtual ssize_t receive(void* buffer, size_t size) = 0;
    virtual int fd() const = 0;
};
// `patience_s`: a peer from whom nothing has come for so long, although it was asked, is gone.
constexpr unsigned kPatienceSeconds = 180;
std::unique_ptr<Channel> plain_channel(UniqueFd socket, unsigned patience_s = kPatienceSeconds);
// TCP: an answer takes less than a millisecond.
bool peer_is_near(int socket);
// To such a peer nothing is sent at a pace (BBR does, by timers): between machines that near the pauses and their timers
// take several times as long as the sending. Anything else about the network is left as its owner has set it.
void send_unpaced(int socket);

struct Frame {
    FrameType type;
    uint64_t id;
    View body;           // valid until the next receive() of the same link
};

// bytes: what the socket took or gave, headers included. frames_out: accepted by send(); frames_in: given by receive().
// sends, receives: system calls that moved something.
struct LinkCounters {
    uint64_t bytes_out = 0, bytes_in = 0, frames_out = 0, frames_in = 0, sends = 0, receives = 0;
    LinkCounters& operator+=(const LinkCounters& o) {
        bytes_out += o.bytes_out, bytes_in += o.bytes_in, frames_out += o.frames_out, frames_in += o.frames_in;
        sends += o.sends, receives += o.receives;
        return *this;
    }
};

class Link {
public:
    enum class Priority { urgent, bulk };
    Link(std::unique_ptr<Channel>, Loop&);
    ~Link();

    // Queues and tries to send at once; what the socket does not take leaves when it is writable. Never blocks.
    // `body` may be in two pieces to save a copy of big payloads.
    void send(FrameType, uint64_t id, View body, Priority = Priority::urgent, View body_tail = {});
    template <class F> requires requires(const F& f, Writer& w) { f.encode(w); }
    void send(FrameType type, uint64_t id, const F& message, Priority p = Priority::urgent) {
        scratch_.clear();
        Writer w(scratch_);
        if constexpr (requires { message.encode_head(w); message.tail(); }) {
            message.encode_head(w);
            send(type, id, View(scratch_), p, message.tail());
        } else {
            message.encode(w);
            send(type, id, View(scratch_), p);
        }
    }
    // Frames that are sent while it lives leave together: by one system call, which wakes the other end once.
    class Together {
    public:
        explicit Together(Link&);
        ~Together();
        Together(const Together&) = delete;
        Together& operator=(const Together&) = delete;

    private:
        Link& link_;
    };
    // The next whole frame, nullopt if none has arrived yet (one non-blocking receive is tried), or an error: the
    // link is gone (`code` ECONNRESET; after all whole frames) or its bytes make no sense (EPROTO). An error stays.
    // Handle a burst without a receive too many: do { receive() … } while (has_buffered_frame()).
    Result<std::optional<Frame>> receive();
    // Same, but waits up to timeout_ms by poll(2): for the handshake only.
    Result<Frame> receive_wait(int timeout_ms);
    bool has_buffered_frame() const;     // receive() will give one without asking the kernel
    size_t queued_bytes() const;         // not yet taken by the socket; bulk senders keep it small
    // Blocks until everything queued is with the kernel, or timeout.
    Status flush(int timeout_ms);
    int fd() const;
    const LinkCounters& counters() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
    Bytes scratch_;
};

}  // namespace omx
