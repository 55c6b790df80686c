// Bodies of the frames. docs/protocol.md has the same as a page: change both together.
// Encoders cut texts at their bound instead of failing; decoders refuse what is longer.
#include "protocol/frames.h"
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

// A Reader that remembers what was wrong first, for the one error of a frame.
class Body {
public:
    Body(FrameType type, View body) : type_(type), in_(body) {}
    template <class T> T get() { return in_.get<T>(); }
    View bytes() { return in_.bytes(); }

    std::string text(const char* field, size_t bound) {
        auto v = in_.bytes();
        require(v.size() <= bound, field, "is too long");
        if (v.size() > bound) return {};
        std::string s(reinterpret_cast<const char*>(v.data()), v.size());
        make_printable(s);
        return s;
    }
    bool flag(const char* field) {
        auto v = in_.get<uint8_t>();
        require(v <= 1, field, "is neither 0 nor 1");
        return v == 1;
    }
    // Bounded, so that sums of them can't overflow.
    int64_t nanoseconds(const char* field, int64_t most) {
        auto ns = in_.get<int64_t>();
        require(ns >= -most && ns <= most, field, "is no time");
        return ns;
    }
    bool fine() const { return in_.ok() && complaint_.empty(); }
    HomePid pid() { return HomePid(task("pid")); }
    HomeTid tid() { return HomeTid(task("tid")); }
    Scheduling scheduling() {
        auto s = Scheduling::read(in_);
        require(s.sound(), "scheduling", "is none of a kernel's");
        return s;
    }
    void require(bool holds, const char* field, const char* what) {
        if (!holds && in_.ok() && complaint_.empty()) complaint_ = fmt::format("{} {}", field, what);
    }
    // What the decoder returns: the value, or why not.
    template <class T> Result<T> result(T value) {
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

// ---- handshake ----

void Hello::encode(Writer& w) const {
    w.put(version);
    w.put(uid);
    w.put(pid_max);
    w.put(job);
    w.put(cpus);
    w.put(memory_nodes);
    w.put(cpu);
    w.put(asked);
    put_text(w, host, kMaxNameBytes);
    put_text(w, kernel, kMaxNameBytes);
    put_text(w, command, kMaxCommandBytes);
    put_text(w, boot_id, kMaxNameBytes);
}

Result<Hello> Hello::decode(View body) {
    Body in(FrameType::hello, body);
    Hello h;
    h.version = in.get<uint32_t>();
    // Only the version's place is common to all versions, so nothing behind it is looked at: who reads this hello
    // can say (or send) a proper refusal.
    if (body.size() >= sizeof h.version && h.version != kProtocolVersion) return h;
    h.uid = in.get<uint32_t>();
    h.pid_max = in.get<uint32_t>();
    h.job = in.get<uint32_t>();
    h.cpus = in.get<uint32_t>();
    h.memory_nodes = in.get<uint32_t>();
    h.cpu = in.get<CpuFeatures>();
    h.asked = in.get<int64_t>();
    h.host = in.text("host", kMaxNameBytes);
    h.kernel = in.text("kernel", kMaxNameBytes);
    h.command = in.text("command", kMaxCommandBytes);
    h.boot_id = in.text("boot_id", kMaxNameBytes);
    return in.result(std::move(h));
}

void Refuse::encode(Writer& w) const { put_text(w, reason, kMaxReasonBytes); }

Result<Refuse> Refuse::decode(View body) {
    Body in(FrameType::refuse, body);
    Refuse f{in.text("reason", kMaxReasonBytes)};
    return in.result(std::move(f));
}

// ---- life of guests ----

void ImageFrame::encode_head(Writer& w) const {
    w.put(pid);
    w.put(tid);
    put_flag(w, is_exec);
    w.put(static_cast<uint32_t>(image.size()));
}

void ImageFrame::encode(Writer& w) const {
    encode_head(w);
    w.raw(image.data(), image.size());
}

Result<ImageFrame> ImageFrame::decode(View body) {
    Body in(FrameType::image, body);
    ImageFrame f;
    f.pid = in.pid();
    f.tid = in.tid();
    f.is_exec = in.flag("is_exec");
    f.image = in.bytes();
    return in.result(f);
}

void ImageDone::encode(Writer& w) const {
    w.put(pid);
    put_text(w, error, kMaxReasonBytes);
}

Result<ImageDone> ImageDone::decode(View body) {
    Body in(FrameType::image_done, body);
    ImageDone f;
    f.pid = in.pid();
    f.error = in.text("error", kMaxReasonBytes);
    return in.result(std::move(f));
}

void SignalFrame::encode(Writer& w) const {
    w.put(pid);
    w.put(tid);
    w.put(info);
}

Result<SignalFrame> SignalFrame::decode(View body) {
    Body in(FrameType::signal, body);
    SignalFrame f;
    f.pid = in.pid();
    f.tid = in.get<HomeTid>();
    f.info = in.get<siginfo_t>();
    in.require(f.tid.value >= 0, "tid", "is negative");
    in.require(f.info.si_signo >= 1 && f.info.si_signo <= 64, "si_signo", "is no signal");
    return in.result(f);
}

void KillFrame::encode(Writer& w) const { w.put(pid); }

Result<KillFrame> KillFrame::decode(View body) {
    Body in(FrameType::kill, body);
    KillFrame f{in.pid()};
    return in.result(f);
}

void GoneFrame::encode(Writer& w) const {
    w.put(pid);
    w.put(wait_status);
    w.put(user_us);
    w.put(system_us);
    w.put(max_rss_kib);
    w.put(wall_us);
}

Result<GoneFrame> GoneFrame::decode(View body) {
    Body in(FrameType::gone, body);
    GoneFrame f;
    f.pid = in.pid();
    f.wait_status = in.get<int32_t>();
    f.user_us = in.get<uint64_t>();
    f.system_us = in.get<uint64_t>();
    f.max_rss_kib = in.get<uint64_t>();
    f.wall_us = in.get<uint64_t>();
    bool ended = (f.wait_status & ~0xffff) == 0 && (WIFEXITED(f.wait_status) || WIFSIGNALED(f.wait_status));
    in.require(ended, "wait_status", "is not that of an ended process");
    return in.result(f);
}

void LostFrame::encode(Writer& w) const {
    w.put(pid);
    put_text(w, reason, kMaxReasonBytes);
    put_text(w, call, kMaxNameBytes);
}

Result<LostFrame> LostFrame::decode(View body) {
    Body in(FrameType::lost, body);
    LostFrame f;
    f.pid = in.pid();
    f.reason = in.text("reason", kMaxReasonBytes);
    f.call = in.text("call", kMaxNameBytes);
    return in.result(std::move(f));
}

void FreezeFrame::encode(Writer& w) const {
    w.put(pid);
    put_flag(w, frozen);
}

Result<FreezeFrame> FreezeFrame::decode(View body) {
    Body in(FrameType::freeze, body);
    FreezeFrame f;
    f.pid = in.pid();
    f.frozen = in.flag("frozen");
    return in.result(f);
}

void MaskFrame::encode(Writer& w) const {
    w.put(tid);
    w.put(mask);
}

Result<MaskFrame> MaskFrame::decode(View body) {
    Body in(FrameType::mask, body);
    MaskFrame f;
    f.tid = in.tid();
    f.mask = in.get<uint64_t>();
    return in.result(f);
}

void SchedulingFrame::encode(Writer& w) const {
    w.put(tid);
    scheduling.encode(w);
}

Result<SchedulingFrame> SchedulingFrame::decode(View body) {
    Body in(FrameType::scheduling, body);
    SchedulingFrame f;
    f.tid = in.tid();
    f.scheduling = in.scheduling();
    return in.result(std::move(f));
}

// ---- lanes ----

void LaneAsk::encode(Writer& w) const {
    w.put(pid);
    w.put(lane);
    w.put(token);
}

Result<LaneAsk> LaneAsk::decode(View body) {
    Body in(FrameType::lane_ask, body);
    LaneAsk f;
    f.pid = in.pid();
    f.lane = in.get<uint64_t>();
    f.token = in.get<LaneToken>();
    return in.result(f);
}

void LaneHello::encode(Writer& w) const {
    w.put(version);
    w.put(token);
    w.put(lane);
}

Result<LaneHello> LaneHello::decode(View body) {
    Body in(FrameType::lane, body);
    LaneHello f;
    f.version = in.get<uint32_t>();
    if (body.size() >= sizeof f.version && f.version != kProtocolVersion) return f;
    f.token = in.get<LaneToken>();
    f.lane = in.get<uint64_t>();
    return in.result(f);
}

void UndoFrame::encode(Writer& w) const {
    w.put(pid);
    w.put(caller);
}

Result<UndoFrame> UndoFrame::decode(View body) {
    Body in(FrameType::undo, body);
    UndoFrame f;
    f.pid = in.pid();
    f.caller = in.tid();
    return in.result(f);
}

// ---- files ----

void FileGet::encode(Writer& w) const {
    w.put(handle);
    w.put(offset);
    w.put(bytes);
}

Result<FileGet> FileGet::decode(View body) {
    Body in(FrameType::file_get, body);
    FileGet f;
    f.handle = in.get<uint64_t>();
    f.offset = in.get<uint64_t>();
    f.bytes = in.get<uint64_t>();
    // off_t is signed: whoever reads may add the two without a thought of wrapping.
    in.require(f.offset <= INT64_MAX && f.bytes <= INT64_MAX - f.offset, "offset + bytes", "is beyond any file");
    return in.result(f);
}

void FileData::encode_head(Writer& w) const {
    w.put(handle);
    w.put(offset);
    w.put(error);
    put_flag(w, last);
    w.put(static_cast<uint32_t>(data.size()));
}

void FileData::encode(Writer& w) const {
    encode_head(w);
    w.raw(data.data(), data.size());
}

Result<FileData> FileData::decode(View body) {
    Body in(FrameType::file_data, body);
    FileData f;
    f.handle = in.get<uint64_t>();
    f.offset = in.get<uint64_t>();
    f.error = in.get<int32_t>();
    f.last = in.flag("last");
    f.data = in.bytes();
    in.require(f.error >= 0 && f.error <= kGreatestErrno, "error", "is no errno");
    in.require(f.offset <= INT64_MAX - kMaxFrameBytes, "offset", "is beyond any file");
    return in.result(f);
}

void FileDone::encode(Writer& w) const { w.put(handle); }

Result<FileDone> FileDone::decode(View body) {
    Body in(FrameType::file_done, body);
    FileDone f{in.get<uint64_t>()};
    return in.result(f);
}

// ---- the way home ----

void ComeFrame::encode(Writer& w) const {
    w.put(pid.value);
    put_text(w, reason, kMaxReasonBytes);
}

Result<ComeFrame> ComeFrame::decode(View body) {
    Body in(FrameType::come, body);
    ComeFrame c;
    c.pid = in.pid();
    c.reason = in.text("reason", kMaxReasonBytes);
    return in.result(std::move(c));
}

void LeaveFrame::encode(Writer& w) const {
    w.put(pid.value);
    put_text(w, reason, kMaxReasonBytes);
    put_text(w, call, kMaxNameBytes);
}

Result<LeaveFrame> LeaveFrame::decode(View body) {
    Body in(FrameType::leave, body);
    LeaveFrame l;
    l.pid = in.pid();
    l.reason = in.text("reason", kMaxReasonBytes);
    l.call = in.text("call", kMaxNameBytes);
    return in.result(std::move(l));
}

void HomecomingFrame::encode(Writer& w) const {
    w.put(pid.value);
    w.put(monotonic);
    w.bytes(image);
}

Result<HomecomingFrame> HomecomingFrame::decode(View body) {
    Body in(FrameType::homecoming, body);
    HomecomingFrame h;
    h.pid = in.pid();
    h.monotonic = in.nanoseconds("monotonic", kLongestUp);
    h.image = in.bytes();
    return in.result(h);
}

void ReadyFrame::encode(Writer& w) const {
    w.put(pid.value);
    w.bytes(std::as_bytes(std::span(whole)));
}

Result<ReadyFrame> ReadyFrame::decode(View body) {
    Body in(FrameType::ready, body);
    ReadyFrame r;
    r.pid = in.pid();
    View files = in.bytes();
    in.require(files.size() % sizeof(uint32_t) == 0, "whole", "is no list of numbers");
    r.whole.resize(files.size() / sizeof(uint32_t));
    std::memcpy(r.whole.data(), files.data(), r.whole.size() * sizeof(uint32_t));
    return in.result(std::move(r));
}

void PagesFrame::encode_head(Writer& w) const {
    w.put(pid.value);
    w.put(address);
    put_flag(w, last);
    w.put(static_cast<uint32_t>(data.size()));
}

void PagesFrame::encode(Writer& w) const {
    encode_head(w);
    w.raw(data.data(), data.size());
}

Result<PagesFrame> PagesFrame::decode(View body) {
    Body in(FrameType::pages, body);
    PagesFrame p;
    p.pid = in.pid();
    p.address = in.get<uint64_t>();
    p.last = in.flag("last");
    p.data = in.bytes();
    in.require(p.address <= INT64_MAX - kMaxFrameBytes, "address", "is beyond any memory");
    return in.result(p);
}

void ProcAsk::encode(Writer& w) const {
    w.put(pid.value);
    w.put(task.value);
    w.put(file);
    put_flag(w, of_thread);
    put_flag(w, write);
    w.put(offset);
    w.put(bytes);
    w.bytes(data);
}

Result<ProcAsk> ProcAsk::decode(View body) {
    Body in(FrameType::proc_ask, body);
    ProcAsk a;
    a.pid = in.pid();
    a.task = in.tid();
    a.file = in.get<uint8_t>();
    a.of_thread = in.flag("of_thread");
    a.write = in.flag("write");
    a.offset = in.get<uint64_t>();
    a.bytes = in.get<uint32_t>();
    a.data = in.bytes();
    in.require(a.bytes <= kMaxFrameBytes / 2, "bytes", "is more than a frame holds");
    return in.result(a);
}

void ProcTold::encode(Writer& w) const {
    w.put(error);
    w.put(written);
    w.bytes(data);
}

Result<ProcTold> ProcTold::decode(View body) {
    Body in(FrameType::proc_told, body);
    ProcTold t;
    t.error = in.get<int32_t>();
    t.written = in.get<uint32_t>();
    t.data = in.bytes();
    in.require(t.error >= 0 && t.error <= kGreatestErrno, "error", "is no errno");
    return in.result(t);
}

// ---- clocks ----

void ClockAsk::encode(Writer& w) const { w.put(asked); }

Result<ClockAsk> ClockAsk::decode(View body) {
    Body in(FrameType::clock_ask, body);
    ClockAsk c{in.get<int64_t>()};
    return in.result(c);
}

void ClockFrame::encode(Writer& w) const {
    for (int64_t ns : {asked, monotonic, realtime, tai, boottime, raw}) w.put(ns);
}

Result<ClockFrame> ClockFrame::decode(View body) {
    Body in(FrameType::clock, body);
    ClockFrame c;
    c.asked = in.get<int64_t>();
    c.monotonic = in.nanoseconds("monotonic", kLongestUp);
    c.realtime = in.nanoseconds("realtime", kLatest);
    c.tai = in.nanoseconds("tai", kLatest);
    c.boottime = in.nanoseconds("boottime", kLongestUp);
    c.raw = in.nanoseconds("raw", kLongestUp);
    return in.result(c);
}

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

// ---- between a supervisor and commands ----

void AskFrame::encode(Writer& w) const {
    w.put(version);
    w.put(wish);
    w.put(pid.value);
}

Result<AskFrame> AskFrame::decode(View body) {
    Body in(FrameType::ask, body);
    AskFrame a{.version = in.get<uint32_t>()};
    if (body.size() >= sizeof a.version && a.version != kProtocolVersion) return a;
    a.wish = in.get<Wish>();
    in.require(a.wish >= Wish::list && a.wish <= Wish::detach, "wish", "is none that there is");
    a.pid.value = in.get<pid_t>();
    in.require(a.pid.value >= 0, "pid", "is negative");
    return in.result(a);
}

void PlacedFrame::encode(Writer& w) const {
    w.put(pid.value);
    put_text(w, program, kMaxReasonBytes);
    put_text(w, place, kMaxNameBytes);
    put_text(w, why, kMaxReasonBytes);
    w.put(calls);
    w.put(since_ms);
}

Result<PlacedFrame> PlacedFrame::decode(View body) {
    Body in(FrameType::placed, body);
    PlacedFrame p;
    p.pid = in.pid();
    p.program = in.text("program", kMaxReasonBytes);
    p.place = in.text("place", kMaxNameBytes);
    p.why = in.text("why", kMaxReasonBytes);
    p.calls = in.get<uint64_t>();
    p.since_ms = in.get<uint64_t>();
    return in.result(std::move(p));
}

void MovedFrame::encode(Writer& w) const {
    w.put(step);
    w.put(bytes);
    w.put(still_us);
    put_text(w, text, kMaxReasonBytes);
}

Result<MovedFrame> MovedFrame::decode(View body) {
    Body in(FrameType::moved, body);
    MovedFrame m{.step = in.get<Step>()};
    in.require(m.step <= Step::failed, "step", "is none that there is");
    m.bytes = in.get<uint64_t>();
    m.still_us = in.get<uint64_t>();
    m.text = in.text("text", kMaxReasonBytes);
    return in.result(std::move(m));
}

// ---- shared files ----

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

void SharedFrame::encode(Writer& w) const {
    w.put(handle);
    w.put(number);
    w.put(bytes);
    w.put(static_cast<uint32_t>(changes.size()));
    for (auto& c : changes) {
        w.put(c.offset);
        w.bytes(c.data);
    }
}

Result<SharedFrame> SharedFrame::decode(View body) {
    Body in(FrameType::shared, body);
    SharedFrame f;
    f.handle = in.get<uint64_t>();
    f.number = in.get<uint64_t>();
    f.bytes = in.get<uint64_t>();
    auto count = in.get<uint32_t>();
    in.require(f.bytes <= kMaxSharedBytes, "bytes", "is more than can be shared");
    in.require(count <= kMaxSharedBytes, "count", "is more than can be shared");
    uint64_t end = 0;
    for (uint32_t i = 0; i < count && in.fine(); i++) {
        Change c;
        c.offset = in.get<uint32_t>();
        c.data = in.bytes();
        in.require(c.offset >= end && !c.data.empty(), "offset", "is out of order");
        end = uint64_t{c.offset} + c.data.size();
        in.require(end <= kMaxSharedBytes, "offset", "is beyond what can be shared");
        f.changes.push_back(c);
    }
    return in.result(std::move(f));
}

void SharedDone::encode(Writer& w) const {
    w.put(handle);
    w.put(grant);
}

Result<SharedDone> SharedDone::decode(View body) {
    Body in(FrameType::shared_done, body);
    SharedDone d;
    d.handle = in.get<uint64_t>();
    d.grant = in.get<uint32_t>();
    return in.result(d);
}

void SharedOver::encode(Writer& w) const {
    w.put(handle);
    put_text(w, reason, kMaxReasonBytes);
}

Result<SharedOver> SharedOver::decode(View body) {
    Body in(FrameType::shared_over, body);
    SharedOver o;
    o.handle = in.get<uint64_t>();
    o.reason = in.text("reason", kMaxReasonBytes);
    return in.result(std::move(o));
}

}  // namespace omx
