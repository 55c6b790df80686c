// What `omxsup doctor` finds out: each probe does the thing itself, in a process of its own, so that nothing of it
// (a namespace, a filter, a dropped privilege) stays.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace omx {

struct Finding {
    enum class State : uint8_t { ok, degraded, missing };
    State state = State::ok;
    std::string detail;      // ok: what is there; degraded: what is lost and what happens instead; missing: the error
    std::string remedy;      // what a person can do about it; empty if ok or nothing
};
std::string_view name(Finding::State);
Finding found(std::string detail = "");
Finding degraded(std::string to, std::string remedy = "");
Finding missing(std::string why, std::string remedy);

struct Probe {
    std::string_view what;
    Finding (*run)();
};

// Kept in three lists by who needs it; all are run on every machine, as any may be home and node.
std::span<const Probe> namespace_probes();     // what a node's sandbox is made of
std::span<const Probe> tracing_probes();       // seccomp, ptrace, other processes' memory and descriptors
std::span<const Probe> comfort_probes();       // what makes it faster or roomier

// In a forked child, with a time limit; all the child started is killed with it.
Finding run_isolated(const Probe&);

}  // namespace omx
