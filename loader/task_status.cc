#include "loader/task_status.h"
#include "protocol/result.h"
#include "protocol/unique_fd.h"
#include <charconv>
#include <fcntl.h>
#include <unistd.h>

namespace omx {

// By read(2): a stream would cost as much again, and a signal waits for it.
TaskStatus::TaskStatus(HomeTid tid) {
    UniqueFd file(open(fmt::format("/proc/{}/status", tid.value).c_str(), O_RDONLY | O_CLOEXEC));
    char piece[4096];                                               // groups may be many
    for (ssize_t n; file && (n = read(file.get(), piece, sizeof piece)) > 0;)
        text_.append(piece, static_cast<size_t>(n));
}

// A process's name, the first field, has no line's end in it: the kernel writes it as \n.
std::string_view TaskStatus::behind(std::string_view field) const {
    std::string_view text = text_;
    for (size_t at = text.find(field); at != text.npos; at = text.find(field, at + 1)) {
        bool whole = (at == 0 || text[at - 1] == '\n') && text.substr(at + field.size()).starts_with(":\t");
        if (whole) return text.substr(at + field.size() + 2);
    }
    return {};
}

std::optional<uint64_t> TaskStatus::value(std::string_view field, int base) const {
    auto text = behind(field);
    uint64_t v = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), v, base).ec != std::errc()) return std::nullopt;
    return v;
}

char TaskStatus::state() const {
    auto text = behind("State");
    return text.empty() ? 0 : text.front();
}

}  // namespace omx
