#include "protocol/listing.h"
#include "supervisor/cli.h"
#include <cstdio>
#include <fmt/format.h>

namespace {

using namespace omx;

int syscalls_main(const SyscallsOptions& options) {
    using Format = SyscallsOptions::Format;
    std::string text = options.format == Format::json       ? syscalls_json()
                       : options.format == Format::markdown ? syscalls_markdown()
                                                            : syscalls_text();
    bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
    return written ? 0 : kExitOurFailure;
}

struct Dispatch {
    int operator()(const RunOptions& o) const { return run_main(o); }
    int operator()(const NodeOptions& o) const { return node_main(o); }
    int operator()(const DoctorOptions& o) const { return doctor_main(o); }
    int operator()(const SyscallsOptions& o) const { return syscalls_main(o); }
    int operator()(const PsOptions& o) const { return ps_main(o); }
    int operator()(const MoveOptions& o) const { return move_main(o); }
};

}  // namespace

int main(int argc, char** argv) {
    auto invocation = parse_command_line(argc, argv);
    if (!invocation) return invocation.error().status;
    return std::visit(Dispatch{}, *invocation);
}
