// Errors of three kinds are kept apart. The guest's errno is data and is carried as a plain long.
// What the world does wrong (peer gone, file missing, malformed bytes) is a Result that nobody can ignore.
// What we do wrong is a CHECK that stays on in release builds.
#pragma once
#include <cerrno>
#include <cstring>
#include <expected>
#include <fmt/format.h>
#include <string>
#include <utility>

namespace omx {

// One sentence for a person, naming the place and where possible the remedy; `code` is an errno or 0.
struct Error {
    std::string what;
    int code = 0;
};

template <class T> using Result = std::expected<T, Error>;
using Status = Result<void>;

inline std::unexpected<Error> fail(std::string what) { return std::unexpected(Error{std::move(what), 0}); }
// Appends strerror(errno); call it directly after the failed system call.
inline std::unexpected<Error> fail_errno(std::string_view what, int code = errno) {
    return std::unexpected(Error{fmt::format("{}: {}", what, std::strerror(code)), code});
}

[[noreturn]] void check_failed(const char* file, int line, const char* expression, const std::string& doing);

}  // namespace omx

// A condition that only a bug of ours can violate. `doing` says what was being done.
#define OMX_CHECK(condition, doing) \
    do { if (!(condition)) [[unlikely]] ::omx::check_failed(__FILE__, __LINE__, #condition, (doing)); } while (0)

// Propagates the error of a Status or Result: OMX_TRY(f());
#define OMX_TRY(expression) \
    do { if (auto omx_try_ = (expression); !omx_try_) return std::unexpected(std::move(omx_try_.error())); } while (0)
// auto x = *OMX_... is deliberately absent: write `auto x = f(); if (!x) return std::unexpected(x.error());`
