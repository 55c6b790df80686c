#include "policy/programs.h"

#include <algorithm>

namespace omx {

namespace {
constexpr std::string_view kTracers[] = {
    "bpftrace", "criu", "dlv", "fakeroot-ng", "gdb", "gdb-multiarch", "gdbserver", "lldb", "lldb-server",
    "ltrace",   "omxsup", "perf", "proot",    "reptyr", "rr",            "strace",    "strace64", "uftrace",
};
// Distributions install several versions side by side: lldb-14, lldb-server-14, perf_6.1.
constexpr std::string_view kWithVersion[] = {"lldb-", "perf_"};
}  // namespace

bool traces_others(std::string_view program) {
    auto name = program.substr(program.rfind('/') + 1);
    return std::ranges::find(kTracers, name) != std::end(kTracers) ||
           std::ranges::any_of(kWithVersion, [&](auto start) { return name.starts_with(start); });
}

}  // namespace omx
