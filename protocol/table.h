// The one table: what happens to every x86-64 system call. See docs/adding-a-call.md.
// Filter, encoder, decoder, trace, `omxsup syscalls`, docs/syscalls.md and the completeness test derive from it.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace omx {

using CallArgs = std::array<uint64_t, 6>;

enum class Place : uint8_t {
    local,        // the node's kernel runs it, untrapped (ALLOW)
    forward,      // the deputy runs it
    tell,         // forwarded without waiting
    cached,       // answered by the worker from what it knows, else forwarded
    both,         // the deputy runs it first; if that succeeds the node's kernel runs it too (rt_sigaction, mask)
    life,         // both halves act together: clone, exec, exit, mmap of a file
    memory_of,    // acts on the memory of a pid: served where that guest is
    home,         // runs only at home. Until guests can come home (docs/limits.md): "not yet"
    deny,         // policy refuses
};
std::string_view name(Place);

struct Placement {
    Place place;
    std::string_view why;      // one sentence; never empty unless place is forward or local
};

struct Row;                                              // fields: see the implementation part below
std::span<const Row> rows();                             // ascending by number
const Row* find_row(uint32_t nr);                        // nullptr: Linux has no such call (place home)
std::string_view call_name(uint32_t nr);                 // "openat", "" if unknown; call_text() of trace.h knows all
// Where this very call runs: the row, refined by its subtable (ioctl, fcntl, prctl, socket options, …) or by its flags
// (mmap, clone). Used by the worker to act and by home to check. A trapped call may turn out to be `local` (the filter
// sees the number, this sees the arguments too): the worker then answers its notification with CONTINUE.
// clone3 can't be judged by its registers: whoever reads its struct asks about number 56 with the flags as args[0],
// where CLONE_CLEAR_SIGHAND (bit 32) and CLONE_INTO_CGROUP (bit 33) are understood too; CLONE_NEWTIME of clone3's flags
// lies where clone has its exit signal, so the reader refuses that one itself.
Placement place_of(uint32_t nr, const CallArgs& args);
// True if the call may wait for something other than a disk (read of a pipe, poll, wait4, accept, flock …).
bool may_block(uint32_t nr, const CallArgs& args);
// The calls whose registers both halves may have to rewrite: clone, fork, vfork, clone3, execve, execveat. The filter
// gives them TRACE (a ptrace stop) instead of a notification.
bool traced_by_ptrace(const Row&);

// The node's kernel runs all of its calls, and nobody hears of them.
bool untrapped(const Row&);

// Of a call's arguments: (args[argument] & mask) == value, and the same of a second one if it has a mask. For the
// filter: when a call may run untrapped although its row is not simply `local`, and when it is held in a ptrace stop.
struct When {
    uint8_t argument;
    uint64_t mask, value;
    uint8_t second = 0;
    uint64_t second_mask = 0, second_value = 0;
    constexpr bool holds(const CallArgs& args) const {
        return (args[argument] & mask) == value && (args[second] & second_mask) == second_value;
    }
};

// ---- the implementation part: what a row is made of. Words to write rows with are in protocol/row_words.h ----

// How `omxsup run --trace` prints an argument. `none`: the call has no such argument; it is 0 for the deputy.
enum class Show : uint8_t {
    none, signed32, unsigned32, signed64, unsigned64, hex, octal, fd, dirfd, pid, signo, address,
    open_flags, at_flags, protection, map_flags, clone_flags, whence, domain, socket_type, message_flags, wait_options,
    command,                 // the name that the subtable has for this value
};

// What an argument points to.
enum class Shape : uint8_t {
    value,                   // nothing: the number itself goes to the deputy
    address,                 // memory that only the node's kernel uses; the deputy gets 0, never the guest's pointer
    buffer,                  // flat bytes
    text,                    // a NUL-terminated string, in
    texts,                   // a NULL-terminated array of strings, in (argv, envp)
    iovec,                   // struct iovec[args[size.argument]]
    message,                 // struct msghdr
    messages,                // struct mmsghdr[args[size.argument]]
    nested,                  // a struct that holds one pointer to a flat buffer
};

enum class Direction : uint8_t {
    in,
    out,
    inout,                   // read and always written: must be writable
    in_maybe_out,            // read; written back where that is possible, else silently not (select's timeout)
};

// All the ways to know how many bytes an argument has before the call.
enum class SizeRule : uint8_t {
    fixed,                   // base
    times,                   // base + args[argument] * unit; `width` of the argument: 4 signed, 5 unsigned 32, 8
    bits,                    // whole 64-bit words that hold args[argument] + bias bits: fd_set, node masks
    word_behind,             // the int behind args[argument] times unit: socklen
    inside,                  // base + (word inside this very buffer, at `offset`, `width` bytes) * unit
    total_inside,            // the greater of base and that word
};
struct Size {
    SizeRule rule = SizeRule::fixed;
    uint8_t argument = 0;
    uint8_t width = 8;
    uint8_t offset = 0;
    uint32_t base = 0;
    uint32_t unit = 1;
    uint32_t cap = UINT32_MAX;       // the kernel never touches more than this
    int8_t bias = 0;
};

// How much of an out-buffer travels back: what the kernel wrote, never more than was laid out.
enum class BackRule : uint8_t {
    whole,
    result,                  // base + result * unit
    result_if_fits,          // result bytes, or nothing if the buffer was too small (keyctl)
    positive,                // whole, if the result is > 0 (wait4)
    word_behind,             // as the int behind args[argument] says after the call
    total_inside,            // as the u32 at the buffer's own start says after the call
    changed,                 // up to the last byte that the call changed: where nobody says how much is written
};
struct Back {
    BackRule rule = BackRule::whole;
    uint8_t argument = 0;
    bool when_failed = false;        // travels back although the call failed, too
    uint8_t base = 0;
    uint32_t unit = 1;
};

// A struct with one pointer in it.
struct Nested {
    uint32_t bytes;                  // of the struct
    uint8_t pointer_at;
    Size inner;                      // `fixed`, or `inside` the outer struct
    Direction direction;             // of what the pointer points to: in or out
    Back back{};                     // of an out-buffer; total_inside: as the u32 at `back_at` of the struct says
    uint8_t back_at = 0, back_bytes = 0;          // the part of the struct that the kernel writes
    int8_t only_if_at = -1;          // the field is a pointer only if the u32 there is only_if (-1: always)
    uint32_t only_if = 0;
};

struct Arg {
    Show show = Show::none;
    Shape shape = Shape::value;
    Direction direction = Direction::in;
    Size size{};
    Back back{};
    const Nested* nested = nullptr;
    constexpr bool has_memory() const { return shape > Shape::address; }
};
using Args = std::array<Arg, 6>;

enum class Returns : uint8_t { number, address, hex, octal };

// One command of a call that is many calls in one.
struct Variant {
    uint64_t selector = 0;
    std::string_view name;
    Place place = Place::forward;
    Args args{};
    bool blocks = false;
    std::string_view why{};
};
struct Subtable {
    std::string_view title;                      // "ioctl request"
    uint64_t (*selector)(const CallArgs&);
    std::span<const Variant> variants;           // ascending by selector
    Variant other;                               // for all the rest, but …
    uint64_t nonsense_from = UINT64_MAX;         // … from here on Linux has no command: home says its errno
    Variant nonsense{};
};

using Judge = Placement (*)(const CallArgs&);

struct Row {
    uint16_t number = 0;
    std::string_view name;
    Place place = Place::home;
    Args args{};
    Returns returns = Returns::number;
    bool blocks = false;
    bool noted = false;                          // local, but the worker is told first: it must know of it
    int8_t lowers = -1;                          // this argument, a count of bytes, may be lowered for a huge buffer
    std::span<const When> local_when{};          // one of them is enough; for a `local` row: none else
    std::span<const When> stopped_when{};        // likewise: its registers have to be rewritten (remote/timed_calls.cc)
    const Subtable* subtable = nullptr;
    Judge judge = nullptr;                       // places by the arguments where no subtable can
    std::string_view why{};

    constexpr Row blocking() const { Row r = *this; r.blocks = true; return r; }
    constexpr Row noted_there() const { Row r = *this; r.noted = true; return r; }
    constexpr Row because(std::string_view w) const { Row r = *this; r.why = w; return r; }
    constexpr Row returning(Returns how) const { Row r = *this; r.returns = how; return r; }
    constexpr Row lowering(int8_t argument) const { Row r = *this; r.lowers = argument; return r; }
    constexpr Row allowed_when(std::span<const When> w) const { Row r = *this; r.local_when = w; return r; }
    constexpr Row stopped_if(std::span<const When> w) const { Row r = *this; r.stopped_when = w; return r; }
    constexpr Row by(const Subtable& s) const { Row r = *this; r.subtable = &s; return r; }
    constexpr Row by(Judge j) const { Row r = *this; r.judge = j; return r; }
};

// A row with its subtable looked up: all that marshaller and trace need.
struct Form {
    const Row* row;
    const Variant* variant;                      // nullptr: the row has no subtable
    const Args& args() const { return variant ? variant->args : row->args; }
};
Form form_of(const Row&, const CallArgs&);

}  // namespace omx
