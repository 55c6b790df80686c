// System calls as text, for `omxsup run --trace` and for error messages. What is printed comes from the table's rows.
#pragma once
#include "protocol/marshal.h"
#include <string>

namespace omx {

// openat(AT_FDCWD, "/etc/hosts", O_RDONLY, 0). A body that makes no sense is printed by its arguments alone.
std::string format_call(const CallHead&, View call_body);
// 3, -1 ENOENT (No such file or directory), 0x7f0000000000 …
std::string format_result(uint32_t nr, int64_t result);
// A name for any number: "openat", "syscall_5000".
std::string call_text(uint32_t nr);

}  // namespace omx
