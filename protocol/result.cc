#include "protocol/result.h"
#include <cstdio>
#include <cstdlib>

namespace omx {

void check_failed(const char* file, int line, const char* expression, const std::string& doing) {
    fmt::print(stderr, "omxsup: bug at {}:{}: {} does not hold while {}\n", file, line, expression, doing);
    std::abort();
}

}  // namespace omx
