// Every message of the link: one enum value, one struct, one row in docs/protocol.md.
// Frame on the wire: FrameHeader, then `length` bytes of body. encode() gives the body only.
// Whatever comes from the peer is checked, never asserted: decode() refuses trailing or missing bytes.
#pragma once
#include "protocol/bytes.h"
#include "protocol/result.h"
#include "protocol/scheduling.h"
#include "protocol/twin.h"
#include "protocol/types.h"
#include <array>
#include <signal.h>
#include <vector>

namespace omx {

constexpr uint32_t kProtocolVersion = 7;
constexpr uint32_t kMaxFrameBytes = 64u << 20;     // bounds what is allocated before a frame is understood

enum class FrameType : uint16_t {
    hello = 1,        // both ways, first
    refuse = 2,       // node -> home, instead of hello: one sentence why; the link then closes
    call = 10,        // node -> home: a guest's system call (body: protocol/marshal.h)
    reply = 11,       // home -> node: its answer
    image = 12,       // home -> node: take in this process (first launch, or after a successful exec)
    image_done = 13,  // node -> home: the image runs, or why it can't
    signal = 14,      // home -> node: deliver this signal to the guest
    kill = 15,        // home -> node: end this guest process now; answered by gone
    gone = 16,        // node -> home: the guest process has ended; nothing of it runs any more
    lost = 17,        // node -> home: the guest was ended for a reason a person must read ("not yet", out of memory …)
    file_get = 18,    // node -> home: content of a file known by handle
    file_data = 19,   // home -> node (bulk)
    file_done = 20,   // node -> home: handle no longer needed
    freeze = 21,      // home -> node: stop (or thaw) a guest process: job control at home
    mask = 22,        // node -> home: the thread's signal mask changed natively (it is in a handler)
    ping = 23,        // both ways, answered by pong with the same body; tests and latency measurements
    pong = 24,
    lane_ask = 25,    // node -> home: open a lane (a connection of its own for calls) for this process
    lane = 26,        // home -> node, first on a connection that is to be a lane, instead of hello
    lane_reply = 27,  // home -> node, on a lane: u64 frames that home had put on the link, then the body of a reply
    undo = 28,        // node -> home: a clone could not be made here: its half at home goes, unseen
    raise = 29,       // node -> home: a timer that the node keeps has run out: its signal (body as of signal)
    leave = 30,       // node -> home: this guest stands still and wants to come home
    let_come = 31,    // home -> node: nothing more comes for it: replies, signals stay here from now on
    homecoming = 32,  // node -> home: its image, without the contents of its memory
    ready = 33,       // home -> node: its memory is mapped, send what is in it
    pages = 34,       // node -> home (bulk): contents of its memory
    proc_ask = 35,    // home -> node: what a file of /proc/PID says there, or is to be told
    proc_told = 36,   // node -> home: that
    clock_ask = 37,   // node -> home: what do your clocks show?
    clock = 38,       // home -> node: this (an answer, or because they have been set, or to be asked again)
    written = 39,     // home -> node: what the child of a vfork wrote at home, for its parent (body as of pages)
    come = 40,        // home -> node: have this guest leave, for a reason of home's
    scheduling = 44,  // home -> node: how home's kernel schedules a guest's thread from now on
    shared = 45,      // both ways: what has changed in a file that guests have mapped shared (protocol/twin.h)
    shared_done = 46, // node -> home: no guest has it mapped any more
    shared_over = 47, // home -> node: it can't be away any longer, who has it mapped comes home
    // Between a supervisor and the commands that ask it for something (supervisor/control.h), on one machine:
    ask = 41,         // command -> supervisor
    placed = 42,      // supervisor -> command: where a process is
    moved = 43,       // supervisor -> command: how far what was asked for is
};
const char* name(FrameType);      // "unknown" for a number that is none of these
bool known(FrameType);

struct FrameHeader {          // 16 bytes, no padding
    uint32_t length;          // of the body, in bytes
    uint16_t type;            // FrameType
    uint16_t flags;           // must be 0
    uint64_t id;              // call and reply: which call; file_*, proc_*: which request; else 0
};
static_assert(sizeof(FrameHeader) == 16);

// What a CPU offers, as far as a program can see it without privilege: raw CPUID leaves in a fixed order
// (see loader/cpu.h) so that the check "node within home" is one masked comparison.
using CpuFeatures = std::array<uint32_t, 32>;

// Of a version that is not ours decode() gives the number alone: the caller must look at it first.
struct Hello {
    uint32_t version = kProtocolVersion;
    uint32_t uid = 0;               // effective uid of the sender
    uint32_t pid_max = 0;           // home: greatest pid that may occur; node: greatest it can give
    uint32_t job = 0;               // home: a number for logs (pid of the supervisor)
    uint32_t cpus = 0, memory_nodes = 0;      // home: numbers of its CPUs and memory nodes are below these
    CpuFeatures cpu{};
    std::string host;               // name of the node / of the home
    std::string kernel;             // uname -r
    std::string command;            // home: command line of the job, for the node's log and its policy
    std::string boot_id;            // /proc/sys/kernel/random/boot_id of home: part of every file's identity
    int64_t asked = 0;              // node: as in ClockAsk, which home answers right behind the hellos

    void encode(Writer&) const;
    static Result<Hello> decode(View);
};

// Refuse: text only.
struct Refuse { std::string reason; void encode(Writer&) const; static Result<Refuse> decode(View); };

// `image` is an encoded Image (loader/image.h). `tid` is the thread that called execve (its number before the
// exec; afterwards the process's only thread has tid == pid). `is_exec`: the guest `pid` exists on the node and is
// at its execve; else the worker makes a new stub.
struct ImageFrame {
    HomePid pid;
    HomeTid tid;
    bool is_exec = false;
    View image;
    void encode(Writer&) const;
    void encode_head(Writer&) const;      // all but the bytes of `image`, which follow: the link saves their copy
    View tail() const { return image; }
    static Result<ImageFrame> decode(View);
};
struct ImageDone {
    HomePid pid;
    std::string error;      // empty: it runs
    void encode(Writer&) const;
    static Result<ImageDone> decode(View);
};

// tid 0: process-directed (the node's kernel chooses the thread). info.si_signo is the signal.
struct SignalFrame {
    HomePid pid;
    HomeTid tid;
    siginfo_t info{};
    void encode(Writer&) const;
    static Result<SignalFrame> decode(View);
};
struct KillFrame { HomePid pid; void encode(Writer&) const; static Result<KillFrame> decode(View); };

// wait_status as of waitpid(2). cpu_us: user + system time on the node; max_rss_kib there.
struct GoneFrame {
    HomePid pid;
    int32_t wait_status = 0;
    uint64_t user_us = 0, system_us = 0, max_rss_kib = 0, wall_us = 0;
    void encode(Writer&) const;
    static Result<GoneFrame> decode(View);
};
// The guest is already gone when this is sent. `reason` is a full line without "omxsup: " and newline.
// `call` names the system call for --stats when it is a "not yet", else "".
struct LostFrame {
    HomePid pid;
    std::string reason;
    std::string call;
    void encode(Writer&) const;
    static Result<LostFrame> decode(View);
};

struct FileGet {
    uint64_t handle = 0, offset = 0;
    uint64_t bytes = 0;
    void encode(Writer&) const;
    static Result<FileGet> decode(View);
};
// Answers a FileGet, in one or more frames of the same id with rising offsets; `last` ends it. A short file ends early.
// error: errno of home's read, 0 if fine.
struct FileData {
    uint64_t handle = 0, offset = 0;
    int32_t error = 0;
    bool last = false;
    View data;
    void encode(Writer&) const;
    void encode_head(Writer&) const;
    View tail() const { return data; }
    static Result<FileData> decode(View);
};
struct FileDone { uint64_t handle = 0; void encode(Writer&) const; static Result<FileDone> decode(View); };
struct FreezeFrame {
    HomePid pid;
    bool frozen = false;
    void encode(Writer&) const;
    static Result<FreezeFrame> decode(View);
};
struct MaskFrame {
    HomeTid tid;
    uint64_t mask = 0;
    void encode(Writer&) const;
    static Result<MaskFrame> decode(View);
};

struct SchedulingFrame {
    HomeTid tid;
    Scheduling scheduling;
    void encode(Writer&) const;
    static Result<SchedulingFrame> decode(View);
};

// What a connection must say to become a lane of a session, known to its two ends only.
using LaneToken = std::array<uint8_t, 16>;

// If home can't, it does nothing: the guest goes on over the link.
struct LaneAsk {
    HomePid pid;
    uint64_t lane = 0;              // the worker's number for it
    LaneToken token{};
    void encode(Writer&) const;
    static Result<LaneAsk> decode(View);
};
// As with hello, of another version the number alone is decoded.
struct LaneHello {
    static constexpr size_t kBytes = 28;
    uint32_t version = kProtocolVersion;
    LaneToken token{};
    uint64_t lane = 0;
    void encode(Writer&) const;
    static Result<LaneHello> decode(View);
};
// `pid` is the process that home made for a clone of thread `caller`.
struct UndoFrame {
    HomePid pid;
    HomeTid caller;
    void encode(Writer&) const;
    static Result<UndoFrame> decode(View);
};

// Why a guest comes home: `reason` is a sentence for a person, `call` the name of the call that it is about to make.
struct LeaveFrame {
    HomePid pid;
    std::string reason, call;
    void encode(Writer&) const;
    static Result<LeaveFrame> decode(View);
};
// A guest is wanted at home: answered by leave, sooner or later, unless it ends or executes something.
struct ComeFrame {
    HomePid pid;
    std::string reason;
    void encode(Writer&) const;
    static Result<ComeFrame> decode(View);
};
// `image` is an encoded Image (loader/image.h) of all its threads. `monotonic`: what its clock showed when all stood
// still; it must not show less when it goes on.
struct HomecomingFrame {
    HomePid pid;
    int64_t monotonic = 0;
    View image;
    void encode(Writer&) const;
    static Result<HomecomingFrame> decode(View);
};
// `whole`: of the image's files those that home can't map, so that the pages of their mappings must all travel.
struct ReadyFrame {
    HomePid pid;
    std::vector<uint32_t> whole;
    void encode(Writer&) const;
    static Result<ReadyFrame> decode(View);
};
// A run of its memory. The last frame may be empty.
struct PagesFrame {
    HomePid pid;
    uint64_t address = 0;
    bool last = false;
    View data;
    void encode(Writer&) const;
    void encode_head(Writer&) const;
    View tail() const { return data; }
    static Result<PagesFrame> decode(View);
};

// About a file of /proc of a guest (loader/proc_view.h has their numbers): its whole text, or so many bytes at an offset.
// With `data` these are written there. `task` is the process, or one thread of it.
struct ProcAsk {
    HomePid pid;
    HomeTid task;
    uint8_t file = 0;
    bool of_thread = false;                // as in /proc/PID/task/TID
    bool write = false;
    uint64_t offset = 0;
    uint32_t bytes = 0;
    View data;
    void encode(Writer&) const;
    static Result<ProcAsk> decode(View);
};
// Answers the ProcAsk of that id. error: an errno, or 0. `written` bytes of what was to be written have been.
struct ProcTold {
    int32_t error = 0;
    uint32_t written = 0;
    View data;
    void encode(Writer&) const;
    static Result<ProcTold> decode(View);
};

// `asked` is the node's own business: when it asked, by its clock. It comes back with the answer.
struct ClockAsk {
    int64_t asked = 0;
    void encode(Writer&) const;
    static Result<ClockAsk> decode(View);
};
// Home's clocks, read at one moment: CLOCK_MONOTONIC in nanoseconds, and how far the others are ahead of it. `asked`: 0
// if nobody has asked.
struct ClockFrame {
    int64_t asked = 0;
    int64_t monotonic = 0;
    int64_t realtime = 0, tai = 0, boottime = 0, raw = 0;
    void encode(Writer&) const;
    static Result<ClockFrame> decode(View);
};

// What home knows of a file whose content the node wants (exec images, private mappings).
// `key` decides whether the node's cache may answer: two equal keys of one home mean equal content.
// cacheable is false for files changed within the last two clock ticks (racy-git rule) or that somebody writes.
struct FileKey {
    uint64_t handle = 0;            // for FileGet, valid until FileDone
    uint64_t device = 0, inode = 0, bytes = 0;
    int64_t mtime_ns = 0, ctime_ns = 0;
    bool cacheable = false;
    void encode(Writer&) const;
    static FileKey read(Reader&);
    bool same_content(const FileKey& o) const {
        return device == o.device && inode == o.inode && bytes == o.bytes && mtime_ns == o.mtime_ns &&
               ctime_ns == o.ctime_ns;
    }
};

// What a command wants of a supervisor, of process `pid` (0: of all). Of another version the number alone is decoded.
enum class Wish : uint8_t { list = 1, home = 2, detach = 3 };
struct AskFrame {
    uint32_t version = kProtocolVersion;
    Wish wish = Wish::list;
    HomePid pid;
    void encode(Writer&) const;
    static Result<AskFrame> decode(View);
};
// `place`: "home", or the name of a node. `why`: the reason for that, or what it waits for.
struct PlacedFrame {
    HomePid pid;
    std::string program, place, why;
    uint64_t calls = 0;         // forwarded
    uint64_t since_ms = 0;      // it has been there for so long
    void encode(Writer&) const;
    static Result<PlacedFrame> decode(View);
};
struct MovedFrame {
    enum class Step : uint8_t { under_way, done, failed };
    Step step = Step::under_way;
    uint64_t bytes = 0;         // of its memory that have come
    uint64_t still_us = 0;      // for so long it has stood still
    std::string text;           // what is waited for, or why it failed
    void encode(Writer&) const;
    static Result<MovedFrame> decode(View);
};
// Behind the FileKey in home's answer to an mmap of a file that both ends will have. `writable`: the guest's descriptor
// is. `grant` counts these answers for this file, so that both know of which one a shared_done can't know.
struct SharedGrant {
    bool writable = false;
    uint32_t grant = 0;
    uint64_t number = 0;            // of the last change that `content` has, see SharedFrame
    View content;
    void encode(Writer&) const;
    static SharedGrant read(Reader&);
};
// `number`: home counts the frames that it sends of this file; the node says which one it has seen last. `bytes`: from
// home the file's size, from the node 0. Changes ascend and don't overlap.
struct SharedFrame {
    uint64_t handle = 0, number = 0, bytes = 0;
    std::vector<Change> changes;
    void encode(Writer&) const;
    static Result<SharedFrame> decode(View);
};
struct SharedDone {
    uint64_t handle = 0;
    uint32_t grant = 0;
    void encode(Writer&) const;
    static Result<SharedDone> decode(View);
};
struct SharedOver {
    uint64_t handle = 0;
    std::string reason;
    void encode(Writer&) const;
    static Result<SharedOver> decode(View);
};

template <class Frame> Bytes encode_frame(const Frame& f) { Bytes b; Writer w(b); f.encode(w); return b; }

}  // namespace omx
