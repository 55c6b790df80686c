// The guests' seccomp filter, made from the table (protocol/table.h) and from nothing else:
// rows placed `local` are let through, calls that make or replace a process stop for ptrace (their registers may have
// to be rewritten), everything else, unknown numbers included, is a notification to the worker.
#pragma once
#include "protocol/result.h"
#include "protocol/unique_fd.h"
#include <cstdint>
#include <linux/filter.h>
#include <vector>

namespace omx {

using FilterProgram = std::vector<sock_filter>;

// Makes the program by libseccomp, as a binary tree: its cost grows with the logarithm of the number of rows.
Result<FilterProgram> build_filter();

}  // namespace omx
