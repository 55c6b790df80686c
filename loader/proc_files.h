// What /proc tells of a stopped process, as far as an image needs it.
#pragma once
#include "loader/image.h"
#include "protocol/unique_fd.h"

namespace omx {

// The directory of one process, held open: a pid that is used again can't get in between.
class ProcDir {
public:
    static Result<ProcDir> open(HomePid);
    Result<UniqueFd> open_file(const char* name, int flags) const;
    Result<std::string> read_text(const char* name) const;
    const std::string& path() const { return path_; }

private:
    UniqueFd dir_;
    std::string path_;     // "/proc/PID", for messages
};

// The auxiliary vector of a 64-bit process, up to and with AT_NULL; some kernels go on with unused entries.
Result<Bytes> read_auxv(const ProcDir&);
// 0: it has no such entry.
uint64_t auxv_value(View auxv, uint64_t type);
// comm, as much of it as the kernel keeps.
Result<std::string> read_name(const ProcDir&);

// From the text of /proc/PID/stat. brk is set to start_brk: the file doesn't have it.
Result<MmFields> parse_stat(std::string_view text);

struct StatusFields {
    uint64_t ignored = 0;      // bit signo - 1
    uint32_t threads = 0;
};
Result<StatusFields> parse_status(std::string_view text);

// Two words of a line of /proc/PID/limits. Not by prlimit, which asks for more than a tracer's right when the process
// has changed its uid.
Status parse_limit(std::string_view text, std::string_view name, uint64_t& soft, uint64_t& hard);
// Its limit of locked memory; who is privileged has none.
Result<uint64_t> lockable_bytes(const ProcDir&);

}  // namespace omx
