// /proc/PID/status of a task of this machine, as it was when it was read. Nothing of it is remembered anywhere: who asks
// is rare, and the kernel knows.
#pragma once
#include "protocol/types.h"
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace omx {

class TaskStatus {
public:
    // Of one that has ended and been reaped all fields are missing.
    explicit TaskStatus(HomeTid);
    explicit TaskStatus(HomePid pid) : TaskStatus(HomeTid(pid.value)) {}

    bool exists() const { return !text_.empty(); }
    char state() const;                                             // R, S, D, T, t, Z …; 0: it doesn't exist
    // By the field's name, without the colon. Of several numbers the first.
    std::optional<uint64_t> number(std::string_view field) const { return value(field, 10); }
    uint64_t mask(std::string_view field) const { return value(field, 16).value_or(0); }
    // Signals that wait for it, its process's included.
    uint64_t pending() const { return mask("SigPnd") | mask("ShdPnd"); }

private:
    std::string_view behind(std::string_view field) const;
    std::optional<uint64_t> value(std::string_view field, int base) const;
    std::string text_;
};

}  // namespace omx
