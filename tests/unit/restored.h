// Runs a program twice over: exec'ed and stopped as at home, captured, killed; then rebuilt in a stub under a filter
// that asks this process, as a worker would, for what the restore needs and lets everything else run.
#pragma once
#include "loader/capture.h"
#include "loader/restore.h"
#include <string>
#include <vector>

namespace omx::test {

struct Launch {
    std::vector<std::string> argv;
    std::vector<std::string> environment = {"PATH=/usr/bin:/bin", "MARK=of home"};
    std::vector<int> ignored_signals;
    uint64_t blocked = 0;
    unsigned long personality = 0;
    uint64_t stack_bytes = 8 << 20;
    std::string remove_before_capture;  // a file that is gone by then
};

// How the rebuilding side differs from the plain case.
struct Variant {
    bool sealed_files = false;          // contents from sealed memfds, opened read-only, as a node has them
    unsigned long stub_personality = 0;
    uint32_t mxcsr = 0;                 // not 0: restore with an extended state that has this control word
    int64_t realtime_ahead_ns = 0;      // not 0: of this machine's, told by a clock page
    int first_file = -1;                // instead of the content of the image's first file
};

struct Captured {
    Bytes encoded;                      // as it would travel
    std::vector<UniqueFd> files;
    std::vector<std::string> paths;
    double capture_us = 0;
};
Result<Captured> capture(const Launch&);

struct Outcome {
    int wait_status = -1;
    std::string output;
    std::string error;                  // of the restore: which operation failed
    double plan_us = 0, restore_us = 0;
    size_t operations = 0, calls_asked = 0;
};
Outcome restore(const Captured&, const Variant& = {});

}  // namespace omx::test
