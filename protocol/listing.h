// The table for people: `omxsup syscalls`, its JSON, and docs/syscalls.md, which a test compares with this.
#pragma once
#include <string>

namespace omx {

std::string syscalls_text();
std::string syscalls_json();
std::string syscalls_markdown();

}  // namespace omx
