// `omxsup ps`, `migrate` and `detach`: commands that ask the supervisors of running jobs.
#pragma once
#include <string>
#include <sys/types.h>

namespace omx {

struct PsOptions { bool json = false; };
struct MoveOptions {
    pid_t pid = 0;
    std::string to = "home";       // the only place yet
    bool detach = false;
};

// 0, or 125 with one line that says why.
int ps_main(const PsOptions&);
int move_main(const MoveOptions&);

}  // namespace omx
