// `omxsup run`: starts COMMAND as a job. The supervisor is forked off; the command is exec'ed in this very process.
#pragma once
#include "protocol/link.h"
#include "supervisor/job_limits.h"
#include <optional>
#include <string>
#include <vector>

namespace omx {

struct RunOptions {
    enum class Where { on, local_node, home };
    Where where = Where::home;
    bool where_defaulted = false;          // neither an option nor $OMXSUP_ON said where
    std::string node;                      // HOST:PORT or unix:PATH; set if where is `on`
    std::string link = "auto";             // auto, io_uring or epoll: how the event loop waits
    std::string lanes = "auto";            // off: none for this job; else as the node's option
    std::optional<std::string> stats;      // a file, or "": to stderr at the end
    std::optional<std::string> trace;      // a file, or "": to stderr as it happens
    unsigned patience_s = kPatienceSeconds;
    JobLimits limits;
    std::vector<std::string> command;      // never empty
};

// What `omxsup` exits with when it isn't COMMAND that speaks. As env(1), timeout(1) and nohup(1) do it.
constexpr int kExitOurFailure = 125, kExitCannotExecute = 126, kExitNotFound = 127;

// Becomes COMMAND: returns only if that failed, with one of the statuses above and one line on stderr.
int run_main(const RunOptions&);

}  // namespace omx
