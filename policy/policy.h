// The seam for what a user or a node's owner forbids. Every forwarded call passes decide() at home, after the table
// has allowed it and before a deputy runs it. Reading policy files comes later (docs/limits.md); the place where they
// will act stands now, so that no call can grow a way around it.
#pragma once
#include "protocol/table.h"
#include <string_view>

namespace omx {

enum class Verdict : uint8_t {
    allow,
    deny,      // the guest gets EPERM
    home,      // may run, but only at home
};
std::string_view name(Verdict);

struct PolicyQuestion {
    std::string_view program;      // path of the guest's executable
    std::string_view path;         // file the call names, resolved; empty if it names none
    uint32_t call = 0;             // system call number
    std::string_view node;         // where the guest is
};

Verdict decide(const PolicyQuestion&);

}  // namespace omx
