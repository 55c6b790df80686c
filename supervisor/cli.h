// The command line, parsed. Apart from main.cc because CLI11 is heavy: only cli.cc includes it.
#pragma once
#include "remote/node.h"
#include "supervisor/asking.h"
#include "supervisor/doctor.h"
#include "supervisor/run.h"
#include <expected>
#include <variant>

namespace omx {

struct SyscallsOptions {
    enum class Format { text, json, markdown };
    Format format = Format::text;
};

using Invocation = std::variant<RunOptions, NodeOptions, DoctorOptions, SyscallsOptions, PsOptions, MoveOptions>;

// Nothing to do any more: help was asked for and given (0), or the arguments are wrong and one line said so (125).
struct Finished { int status; };

std::expected<Invocation, Finished> parse_command_line(int argc, char** argv);

}  // namespace omx
