// Names of flags and small numbers for the trace. Inner header of trace.cc.
#pragma once
#include "protocol/table.h"
#include <string>

namespace omx {

// The value as strace would write it: "O_RDWR|O_CREAT", "SIGTERM", "AT_FDCWD", "0644", "0x10", "-5".
std::string format_value(Show, uint64_t value);

}  // namespace omx
