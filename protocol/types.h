// Strong types for the things of this field that are all "just integers" and must never be mixed up.
// The classic bug here is to close *our* descriptor 5 for the guest's descriptor 5.
#pragma once
#include <compare>
#include <cstdint>
#include <functional>
#include <sys/types.h>

namespace omx {

// An integer that converts to nothing by itself. `Tag` only makes the type distinct.
template <class Tag, class Int> struct Strong {
    Int value{};
    constexpr Strong() = default;
    constexpr explicit Strong(Int v) : value(v) {}
    constexpr auto operator<=>(const Strong&) const = default;
};

// An address in a guest's memory. Never dereferenced; read through GuestMemory.
struct GuestAddr : Strong<GuestAddr, uint64_t> {
    using Strong::Strong;
    constexpr GuestAddr operator+(uint64_t bytes) const { return GuestAddr(value + bytes); }
    constexpr bool null() const { return value == 0; }
};

// An address in a deputy's memory (the blob, or inside its slots). Never dereferenced by us either.
struct DeputyAddr : Strong<DeputyAddr, uint64_t> {
    using Strong::Strong;
    constexpr DeputyAddr operator+(uint64_t bytes) const { return DeputyAddr(value + bytes); }
};

// A descriptor number in a guest's (= its deputy's) table, as opposed to UniqueFd, which is ours.
struct GuestFd : Strong<GuestFd, int32_t> { using Strong::Strong; };

// Process and thread ids as home counts them. A guest has the same numbers in its worker's pid namespace.
struct HomePid : Strong<HomePid, pid_t> { using Strong::Strong; };
struct HomeTid : Strong<HomeTid, pid_t> { using Strong::Strong; };

}  // namespace omx

template <> struct std::hash<omx::HomePid> {
    size_t operator()(omx::HomePid p) const { return std::hash<pid_t>{}(p.value); }
};
template <> struct std::hash<omx::HomeTid> {
    size_t operator()(omx::HomeTid t) const { return std::hash<pid_t>{}(t.value); }
};
