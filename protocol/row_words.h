// The words that rows are written with. `row(0, "read", forward, {fd, out(times(2), result()), size})` reads: the
// second argument points to an out-buffer of as many bytes as argument 2 says, of which the result counts.
#pragma once
#include "protocol/table.h"

namespace omx::words {

using enum Place;

// ---- sizes ----
constexpr Size bytes(uint32_t n) { return {.base = n}; }
constexpr Size times(uint8_t argument, uint32_t unit = 1, uint32_t base = 0) {
    return {.rule = SizeRule::times, .argument = argument, .width = 8, .base = base, .unit = unit};
}
constexpr Size times_int(uint8_t argument, uint32_t unit = 1) {
    return {.rule = SizeRule::times, .argument = argument, .width = 4, .unit = unit};
}
constexpr Size times_unsigned(uint8_t argument, uint32_t unit = 1) {
    return {.rule = SizeRule::times, .argument = argument, .width = 5, .unit = unit};
}
constexpr Size bits(uint8_t argument, int8_t bias = 0) {
    return {.rule = SizeRule::bits, .argument = argument, .bias = bias};
}
constexpr Size word_behind(uint8_t argument) { return {.rule = SizeRule::word_behind, .argument = argument}; }
constexpr Size inside(uint32_t base, uint8_t offset, uint32_t unit, uint8_t width = 4) {
    return {.rule = SizeRule::inside, .width = width, .offset = offset, .base = base, .unit = unit};
}
constexpr Size total_inside(uint32_t least, uint8_t offset = 0) {
    return {.rule = SizeRule::total_inside, .width = 4, .offset = offset, .base = least};
}
constexpr Size at_most(uint32_t cap, Size s) { s.cap = cap; return s; }

// ---- what travels back ----
constexpr Back whole{};
constexpr Back result(uint32_t unit = 1, uint8_t base = 0) {
    return {.rule = BackRule::result, .base = base, .unit = unit};
}
constexpr Back result_if_fits{.rule = BackRule::result_if_fits};
constexpr Back if_positive{.rule = BackRule::positive};
constexpr Back written_behind(uint8_t argument) { return {.rule = BackRule::word_behind, .argument = argument}; }
constexpr Back written_inside{.rule = BackRule::total_inside};
constexpr Back changed{.rule = BackRule::changed};
constexpr Back even_failed(Back b = whole) { b.when_failed = true; return b; }

// ---- arguments without memory ----
constexpr Arg num{.show = Show::signed32}, uns{.show = Show::unsigned32}, off{.show = Show::signed64};
constexpr Arg size{.show = Show::unsigned64}, hex{.show = Show::hex}, mode{.show = Show::octal};
constexpr Arg fd{.show = Show::fd}, dirfd{.show = Show::dirfd}, pid{.show = Show::pid}, id{.show = Show::signed32};
constexpr Arg signo{.show = Show::signo}, none{};
constexpr Arg open_flags{.show = Show::open_flags}, at_flags{.show = Show::at_flags};
constexpr Arg protection{.show = Show::protection}, map_flags{.show = Show::map_flags};
constexpr Arg clone_flags{.show = Show::clone_flags}, whence{.show = Show::whence}, domain{.show = Show::domain};
constexpr Arg socket_type{.show = Show::socket_type}, message_flags{.show = Show::message_flags};
constexpr Arg wait_options{.show = Show::wait_options}, command{.show = Show::command};
// Memory that the node's kernel alone uses, or that no forwarded call may touch.
constexpr Arg address{.show = Show::address, .shape = Shape::address};

// ---- arguments with memory ----
constexpr Arg memory(Shape shape, Direction d, Size s = {}, Back b = {}) {
    return {.show = Show::address, .shape = shape, .direction = d, .size = s, .back = b};
}
constexpr Arg in(Size s) { return memory(Shape::buffer, Direction::in, s); }
constexpr Arg out(Size s, Back b = whole) { return memory(Shape::buffer, Direction::out, s, b); }
constexpr Arg inout(Size s, Back b = whole) { return memory(Shape::buffer, Direction::inout, s, b); }
constexpr Arg in_maybe_out(Size s, Back b = whole) { return memory(Shape::buffer, Direction::in_maybe_out, s, b); }
constexpr Arg text(uint32_t limit) { return memory(Shape::text, Direction::in, bytes(limit)); }
constexpr Arg path = text(4096);             // PATH_MAX
constexpr Arg label = text(4096);            // other strings: names of attributes, types, options
constexpr Arg texts = memory(Shape::texts, Direction::in);
constexpr Arg iovec_in(uint8_t count) { return memory(Shape::iovec, Direction::in, times(count)); }
constexpr Arg iovec_out(uint8_t count) { return memory(Shape::iovec, Direction::out, times(count), result()); }
constexpr Arg message_in = memory(Shape::message, Direction::in), message_out = memory(Shape::message, Direction::out);
constexpr Arg messages_in(uint8_t count) { return memory(Shape::messages, Direction::in, times_unsigned(count)); }
constexpr Arg messages_out(uint8_t count) { return memory(Shape::messages, Direction::out, times_unsigned(count)); }
constexpr Arg nested(const Nested& n) {
    Arg a = memory(Shape::nested, Direction::in, bytes(n.bytes));
    a.nested = &n;
    return a;
}
constexpr Arg sigset(uint8_t size_argument) { return in(at_most(8, times(size_argument))); }
constexpr Arg timespec = in(bytes(16));

inline constexpr std::string_view locking = "home says how much the process may lock, the node locks it";
inline constexpr std::string_view cpu_timers = "timers of CPU time are kept on the node, all others at home";
inline constexpr std::string_view cpu_time =
    "CPU time is used on both machines: the node's part, which it counts, is added to home's";

inline constexpr std::string_view told_clock = "home's clock, which the worker knows from the link";
inline constexpr std::string_view own_moment = "a moment of CLOCK_REALTIME is turned into one of CLOCK_MONOTONIC";
inline constexpr std::string_view homes_moment = "until a moment of CLOCK_REALTIME: that is home's clock";

// ---- rows ----
constexpr Row row(uint16_t number, std::string_view name, Place place, Args args = {}) {
    return {.number = number, .name = name, .place = place, .args = args};
}
constexpr Variant variant(uint64_t selector, std::string_view name, Place place, Args args, std::string_view why = {}) {
    return {.selector = selector, .name = name, .place = place, .args = args, .why = why};
}

}  // namespace omx::words
