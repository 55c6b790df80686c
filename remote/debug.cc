#include "remote/debug.h"
#include <cstdlib>
#include <ctime>
#include <unistd.h>

namespace omx {

bool debugging() {
    static const bool on = [] { auto v = std::getenv("OMXSUP_DEBUG"); return v && *v && *v != '0'; }();
    return on;
}

// One write per line, so that lines of several workers that share a terminal or a file stay whole.
void debug_line(const std::string& text) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    auto line = fmt::format("omxsup node {:4}.{:06}: {}\n", now.tv_sec % 10000, now.tv_nsec / 1000, text);
    if (write(STDERR_FILENO, line.data(), line.size()) < 0) { /* a log that nobody reads is no reason to stop */ }
}

}  // namespace omx
