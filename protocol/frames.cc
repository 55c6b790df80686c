// Bodies of the frames. docs/protocol.md has the same as a page: change both together. What a body is made of is said
// once, by fields(); encoders and decoders follow from it. A new frame: its fields(), and a line in the list at the end.
// Encoders cut texts at their bound instead of failing; decoders refuse what is longer.
#include "protocol/frames.h"
#include <concepts>
#include <string_view>
#include <sys/wait.h>

namespace omx {

namespace {

constexpr size_t kMaxNameBytes = 256;          // host, kernel, boot_id, name of a call
constexpr size_t kMaxReasonBytes = 4096;       // a line for a person
constexpr size_t kMaxCommandBytes = 128u << 10;
constexpr int64_t kLongestUp = int64_t{1} << 61, kLatest = int64_t{1} << 62;        // ns: 73 years, the year 2116
constexpr int kGreatestErrno = 4095;           // the kernel's own MAX_ERRNO

void put_text(Writer& w, std::string_view s, size_t bound) { w.text(s.substr(0, bound)); }
void put_flag(Writer& w, bool b) { w.put(static_cast<uint8_t>(b)); }

// Texts end on a person's terminal or in a log: a peer must not be able to steer the terminal or forge lines.
// C1 controls (0x80 to 0x9f) are only controls where they come as UTF-8, after 0xc2.
void make_printable(std::string& s) {
    for (size_t i = 0; i < s.size(); ++i) {
        auto c = static_cast<unsigned char>(s[i]);
        bool c1 = c >= 0x80 && c < 0xa0 && i > 0 && static_cast<unsigned char>(s[i - 1]) == 0xc2;
        if (c1) s[i - 1] = '?';
        if (c1 || c < 0x20 || c == 0x7f) s[i] = '?';
    }
}

// Of a body's fields: writes them. Whoever sends is right, so that nothing is required.
class Put {
public:
    enum class Tail { copied, left_out };
    explicit Put(Writer& w, Tail tail = Tail::copied) : w_(w), tail_(tail) {}
    template <class T> void operator()(const T& v) { w_.put(v); }
    bool version(uint32_t v) { return w_.put(v), true; }
    void pid(HomePid v) { w_.put(v); }
    void tid(HomeTid v) { w_.put(v); }
    void flag(const char*, bool v) { put_flag(w_, v); }
    void text(const char*, const std::string& v, size_t bound) { put_text(w_, v, bound); }
    void nanoseconds(const char*, int64_t v, int64_t) { w_.put(v); }
    void scheduling(const Scheduling& v) { v.encode(w_); }
    void bytes(View v) { w_.bytes(v); }
    // At the end of a body, where the link may send it from where it is.
    void tail(View v) {
        w_.put(static_cast<uint32_t>(v.size()));
        if (tail_ == Tail::copied) w_.raw(v.data(), v.size());
    }
    void numbers(const char*, const std::vector<uint32_t>& v) { w_.bytes(std::as_bytes(std::span(v))); }
    template <class T> void list(const char*, const std::vector<T>& v, size_t, auto&& one) {
        w_.put(static_cast<uint32_t>(v.size()));
        for (auto& each : v) one(each);
    }
    void require(bool, const char*, const char*) {}

private:
    Writer& w_;
    Tail tail_;
};

// … reads and checks them, and remembers what was wrong first, for the one error of a frame.
class Take {
public:
    Take(FrameType type, View body) : type_(type), in_(body) {}
    template <class T> void operator()(T& v) { v = in_.get<T>(); }
    // Only the version's place is common to all versions, so nothing behind another one is looked at: who reads it can
    // say (or send) a proper refusal. False: it is another.
    bool version(uint32_t& v) {
        v = in_.get<uint32_t>();
        other_version_ = in_.ok() && v != kProtocolVersion;
        return !other_version_;
    }
    void pid(HomePid& v) { v = HomePid(task("pid")); }
    void tid(HomeTid& v) { v = HomeTid(task("tid")); }
    void flag(const char* field, bool& v) {
        auto byte = in_.get<uint8_t>();
        require(byte <= 1, field, "is neither 0 nor 1");
        v = byte == 1;
    }
    void text(const char* field, std::string& v, size_t bound) {
        auto all = in_.bytes();
        require(all.size() <= bound, field, "is too long");
        if (all.size() > bound) return;
        v.assign(reinterpret_cast<const char*>(all.data()), all.size());
        make_printable(v);
    }
    // Bounded, so that sums of them can't overflow.
    void nanoseconds(const char* field, int64_t& v, int64_t most) {
        v = in_.get<int64_t>();
        require(v >= -most && v <= most, field, "is no time");
    }
    void scheduling(Scheduling& v) {
        v = Scheduling::read(in_);
        require(v.sound(), "scheduling", "is none of a kernel's");
    }
    void bytes(View& v) { v = in_.bytes(); }
    void tail(View& v) { v = in_.bytes(); }
    void numbers(const char* field, std::vector<uint32_t>& v) {
        auto all = in_.bytes();
        require(all.size() % sizeof(uint32_t) == 0, field, "is no list of numbers");
        v.resize(all.size() / sizeof(uint32_t));
        std::memcpy(v.data(), all.data(), v.size() * sizeof(uint32_t));
    }
    template <class T> void list(const char* field, std::vector<T>& v, size_t most, auto&& one) {
        auto count = in_.get<uint32_t>();
        require(count <= most, field, "is more than can be");
        for (uint32_t i = 0; i < count && in_.ok() && complaint_.empty(); i++) one(v.emplace_back());
    }
    void require(bool holds, const char* field, const char* what) {
        if (!holds && in_.ok() && complaint_.empty()) complaint_ = fmt::format("{} {}", field, what);
    }
    // What the decoder returns: the value, or why not.
    template <class T> Result<T> result(T value) {
        if (other_version_) return value;
        if (!in_.ok()) return malformed("is too short");
        if (!complaint_.empty()) return malformed(complaint_);
        if (!in_.finished()) return malformed(fmt::format("has {} bytes too many", in_.left()));
        return value;
    }

private:
    // 0 and negative numbers mean groups or everybody to kill(2) and the like: never let one through.
    pid_t task(const char* field) {
        auto p = in_.get<pid_t>();
        require(p > 0, field, "is not positive");
        return p;
    }
    std::unexpected<Error> malformed(std::string_view what) const {
        return std::unexpected(Error{fmt::format("malformed {} frame from the peer: {}", name(type_), what), EPROTO});
    }
    FrameType type_;
    Reader in_;
    bool other_version_ = false;
    std::string complaint_;
};

constexpr const char* name_of(FrameType type) {
    switch (type) {
        case FrameType::hello: return "hello";
        case FrameType::refuse: return "refuse";
        case FrameType::call: return "call";
        case FrameType::reply: return "reply";
        case FrameType::image: return "image";
        case FrameType::image_done: return "image_done";
        case FrameType::signal: return "signal";
        case FrameType::kill: return "kill";
        case FrameType::gone: return "gone";
        case FrameType::lost: return "lost";
        case FrameType::file_get: return "file_get";
        case FrameType::file_data: return "file_data";
        case FrameType::file_done: return "file_done";
        case FrameType::freeze: return "freeze";
        case FrameType::mask: return "mask";
        case FrameType::ping: return "ping";
        case FrameType::pong: return "pong";
        case FrameType::lane_ask: return "lane_ask";
        case FrameType::lane: return "lane";
        case FrameType::lane_reply: return "lane_reply";
        case FrameType::undo: return "undo";
        case FrameType::raise: return "raise";
        case FrameType::leave: return "leave";
        case FrameType::let_come: return "let_come";
        case FrameType::homecoming: return "homecoming";
        case FrameType::ready: return "ready";
        case FrameType::pages: return "pages";
        case FrameType::proc_ask: return "proc_ask";
        case FrameType::proc_told: return "proc_told";
        case FrameType::clock_ask: return "clock_ask";
        case FrameType::clock: return "clock";
        case FrameType::come: return "come";
        case FrameType::ask: return "ask";
        case FrameType::placed: return "placed";
        case FrameType::moved: return "moved";
        case FrameType::written: return "written";
        case FrameType::scheduling: return "scheduling";
        case FrameType::shared: return "shared";
        case FrameType::shared_done: return "shared_done";
        case FrameType::shared_over: return "shared_over";
    }
    return "unknown";
}

}  // namespace

const char* name(FrameType type) { return name_of(type); }

// Asked once per frame that arrives, so without looking at the names.
bool known(FrameType type) {
    static constexpr uint64_t set = [] {
        uint64_t bits = 0;
        for (unsigned n = 0; n < 64; ++n)
            if (std::string_view(name_of(static_cast<FrameType>(n))) != "unknown") bits |= uint64_t{1} << n;
        return bits;
    }();
    auto n = static_cast<unsigned>(type);
    return n < 64 && (set >> n & 1);
}

namespace {

// A frame to be written (const) or read.
template <class T, class F> concept Of = std::same_as<std::remove_const_t<T>, F>;

// ---- handshake ----

void fields(auto& a, Of<Hello> auto& f) {
    if (!a.version(f.version)) return;
    a(f.uid), a(f.pid_max), a(f.job), a(f.cpus), a(f.memory_nodes), a(f.cpu), a(f.asked);
    a.text("host", f.host, kMaxNameBytes);
    a.text("kernel", f.kernel, kMaxNameBytes);
    a.text("command", f.command, kMaxCommandBytes);
    a.text("boot_id", f.boot_id, kMaxNameBytes);
}
void fields(auto& a, Of<Refuse> auto& f) { a.text("reason", f.reason, kMaxReasonBytes); }

// ---- life of guests ----

void fields(auto& a, Of<ImageFrame> auto& f) {
    a.pid(f.pid), a.tid(f.tid), a.flag("is_exec", f.is_exec), a.tail(f.image);
}
void fields(auto& a, Of<ImageDone> auto& f) { a.pid(f.pid), a.text("error", f.error, kMaxReasonBytes); }
void fields(auto& a, Of<SignalFrame> auto& f) {
    a.pid(f.pid), a(f.tid), a(f.info);
    a.require(f.tid.value >= 0, "tid", "is negative");
    a.require(f.info.si_signo >= 1 && f.info.si_signo <= 64, "si_signo", "is no signal");
}
void fields(auto& a, Of<KillFrame> auto& f) { a.pid(f.pid); }
void fields(auto& a, Of<GoneFrame> auto& f) {
    a.pid(f.pid), a(f.wait_status), a(f.user_us), a(f.system_us), a(f.max_rss_kib), a(f.wall_us);
    bool ended = (f.wait_status & ~0xffff) == 0 && (WIFEXITED(f.wait_status) || WIFSIGNALED(f.wait_status));
    a.require(ended, "wait_status", "is not that of an ended process");
}
void fields(auto& a, Of<LostFrame> auto& f) {
    a.pid(f.pid), a.text("reason", f.reason, kMaxReasonBytes), a.text("call", f.call, kMaxNameBytes);
}
void fields(auto& a, Of<FreezeFrame> auto& f) { a.pid(f.pid), a.flag("frozen", f.frozen); }
void fields(auto& a, Of<MaskFrame> auto& f) { a.tid(f.tid), a(f.mask); }
void fields(auto& a, Of<SchedulingFrame> auto& f) { a.tid(f.tid), a.scheduling(f.scheduling); }

// ---- lanes ----

void fields(auto& a, Of<LaneAsk> auto& f) { a.pid(f.pid), a(f.lane), a(f.token); }
void fields(auto& a, Of<LaneHello> auto& f) {
    if (a.version(f.version)) a(f.token), a(f.lane);
}
void fields(auto& a, Of<UndoFrame> auto& f) { a.pid(f.pid), a.tid(f.caller); }

// ---- files ----

void fields(auto& a, Of<FileGet> auto& f) {
    a(f.handle), a(f.offset), a(f.bytes);
    // off_t is signed: whoever reads may add the two without a thought of wrapping.
    a.require(f.offset <= INT64_MAX && f.bytes <= INT64_MAX - f.offset, "offset + bytes", "is beyond any file");
}
void fields(auto& a, Of<FileData> auto& f) {
    a(f.handle), a(f.offset), a(f.error), a.flag("last", f.last), a.tail(f.data);
    a.require(f.error >= 0 && f.error <= kGreatestErrno, "error", "is no errno");
    a.require(f.offset <= INT64_MAX - kMaxFrameBytes, "offset", "is beyond any file");
}
void fields(auto& a, Of<FileDone> auto& f) { a(f.handle); }

// ---- shared files ----

void fields(auto& a, Of<SharedFrame> auto& f) {
    a(f.handle), a(f.number), a(f.bytes);
    a.require(f.bytes <= kMaxSharedBytes, "bytes", "is more than can be shared");
    uint64_t end = 0;
    a.list("count", f.changes, kMaxSharedBytes, [&](auto& change) {
        a(change.offset), a.bytes(change.data);
        a.require(change.offset >= end && !change.data.empty(), "offset", "is out of order");
        end = uint64_t{change.offset} + change.data.size();
        a.require(end <= kMaxSharedBytes, "offset", "is beyond what can be shared");
    });
}
void fields(auto& a, Of<SharedDone> auto& f) { a(f.handle), a(f.grant); }
void fields(auto& a, Of<SharedOver> auto& f) { a(f.handle), a.text("reason", f.reason, kMaxReasonBytes); }

// ---- the way home ----

void fields(auto& a, Of<ComeFrame> auto& f) { a.pid(f.pid), a.text("reason", f.reason, kMaxReasonBytes); }
void fields(auto& a, Of<LeaveFrame> auto& f) {
    a.pid(f.pid), a.text("reason", f.reason, kMaxReasonBytes), a.text("call", f.call, kMaxNameBytes);
}
void fields(auto& a, Of<HomecomingFrame> auto& f) {
    a.pid(f.pid), a.nanoseconds("monotonic", f.monotonic, kLongestUp), a.bytes(f.image);
}
void fields(auto& a, Of<ReadyFrame> auto& f) { a.pid(f.pid), a.numbers("whole", f.whole); }
void fields(auto& a, Of<PagesFrame> auto& f) {
    a.pid(f.pid), a(f.address), a.flag("last", f.last), a.tail(f.data);
    a.require(f.address <= INT64_MAX - kMaxFrameBytes, "address", "is beyond any memory");
}

// ---- what guests see of their machine ----

void fields(auto& a, Of<ProcAsk> auto& f) {
    a.pid(f.pid), a.tid(f.task), a(f.file), a.flag("of_thread", f.of_thread), a.flag("write", f.write);
    a(f.offset), a(f.bytes), a.bytes(f.data);
    a.require(f.bytes <= kMaxFrameBytes / 2, "bytes", "is more than a frame holds");
}
void fields(auto& a, Of<ProcTold> auto& f) {
    a(f.error), a(f.written), a.bytes(f.data);
    a.require(f.error >= 0 && f.error <= kGreatestErrno, "error", "is no errno");
}
void fields(auto& a, Of<ClockAsk> auto& f) { a(f.asked); }
void fields(auto& a, Of<ClockFrame> auto& f) {
    a(f.asked);
    a.nanoseconds("monotonic", f.monotonic, kLongestUp);
    a.nanoseconds("realtime", f.realtime, kLatest);
    a.nanoseconds("tai", f.tai, kLatest);
    a.nanoseconds("boottime", f.boottime, kLongestUp);
    a.nanoseconds("raw", f.raw, kLongestUp);
}

// ---- between a supervisor and commands ----

void fields(auto& a, Of<AskFrame> auto& f) {
    if (!a.version(f.version)) return;
    a(f.wish), a(f.pid);
    a.require(f.wish >= Wish::list && f.wish <= Wish::detach, "wish", "is none that there is");
    a.require(f.pid.value >= 0, "pid", "is negative");
}
void fields(auto& a, Of<PlacedFrame> auto& f) {
    a.pid(f.pid);
    a.text("program", f.program, kMaxReasonBytes);
    a.text("place", f.place, kMaxNameBytes);
    a.text("why", f.why, kMaxReasonBytes);
    a(f.calls), a(f.since_ms);
}
void fields(auto& a, Of<MovedFrame> auto& f) {
    a(f.step), a(f.bytes), a(f.still_us), a.text("text", f.text, kMaxReasonBytes);
    a.require(f.step <= MovedFrame::Step::failed, "step", "is none that there is");
}

template <class F> Result<F> take(FrameType type, View body) {
    Take in(type, body);
    F f;
    fields(in, f);
    return in.result(std::move(f));
}

}  // namespace

#define OMX_FRAME(F, type)                                                   \
    void F::encode(Writer& w) const { Put put(w); fields(put, *this); }      \
    Result<F> F::decode(View body) { return take<F>(FrameType::type, body); }
#define OMX_FRAME_WITH_TAIL(F, type)                                         \
    OMX_FRAME(F, type)                                                       \
    void F::encode_head(Writer& w) const {                                   \
        Put put(w, Put::Tail::left_out);                                     \
        fields(put, *this);                                                  \
    }

OMX_FRAME(Hello, hello)
OMX_FRAME(Refuse, refuse)
OMX_FRAME_WITH_TAIL(ImageFrame, image)
OMX_FRAME(ImageDone, image_done)
OMX_FRAME(SignalFrame, signal)
OMX_FRAME(KillFrame, kill)
OMX_FRAME(GoneFrame, gone)
OMX_FRAME(LostFrame, lost)
OMX_FRAME(FreezeFrame, freeze)
OMX_FRAME(MaskFrame, mask)
OMX_FRAME(SchedulingFrame, scheduling)
OMX_FRAME(LaneAsk, lane_ask)
OMX_FRAME(LaneHello, lane)
OMX_FRAME(UndoFrame, undo)
OMX_FRAME(FileGet, file_get)
OMX_FRAME_WITH_TAIL(FileData, file_data)
OMX_FRAME(FileDone, file_done)
OMX_FRAME(SharedFrame, shared)
OMX_FRAME(SharedDone, shared_done)
OMX_FRAME(SharedOver, shared_over)
OMX_FRAME(ComeFrame, come)
OMX_FRAME(LeaveFrame, leave)
OMX_FRAME(HomecomingFrame, homecoming)
OMX_FRAME(ReadyFrame, ready)
OMX_FRAME_WITH_TAIL(PagesFrame, pages)
OMX_FRAME(ProcAsk, proc_ask)
OMX_FRAME(ProcTold, proc_told)
OMX_FRAME(ClockAsk, clock_ask)
OMX_FRAME(ClockFrame, clock)
OMX_FRAME(AskFrame, ask)
OMX_FRAME(PlacedFrame, placed)
OMX_FRAME(MovedFrame, moved)

// ---- parts of bodies ----

void FileKey::encode(Writer& w) const {
    w.put(handle);
    w.put(device);
    w.put(inode);
    w.put(bytes);
    w.put(mtime_ns);
    w.put(ctime_ns);
    put_flag(w, cacheable);
}

FileKey FileKey::read(Reader& in) {
    FileKey k;
    k.handle = in.get<uint64_t>();
    k.device = in.get<uint64_t>();
    k.inode = in.get<uint64_t>();
    k.bytes = in.get<uint64_t>();
    k.mtime_ns = in.get<int64_t>();
    k.ctime_ns = in.get<int64_t>();
    auto cacheable = in.get<uint8_t>();
    if (cacheable > 1 || k.bytes > INT64_MAX) in.refuse();
    k.cacheable = cacheable == 1;
    return k;
}

void SharedGrant::encode(Writer& w) const {
    put_flag(w, writable);
    w.put(grant);
    w.put(number);
    w.bytes(content);
}

SharedGrant SharedGrant::read(Reader& in) {
    SharedGrant g;
    auto writable = in.get<uint8_t>();
    g.grant = in.get<uint32_t>();
    g.number = in.get<uint64_t>();
    g.content = in.bytes();
    if (writable > 1 || g.content.size() > kMaxSharedBytes) in.refuse();
    g.writable = writable == 1;
    return g;
}

}  // namespace omx
