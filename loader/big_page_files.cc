#include "loader/big_page_files.h"
#include <fcntl.h>
#include <unistd.h>

namespace omx {

// With this name /proc/PID/maps calls it as it calls memfds of ours, which it stands for.
Result<BigPageFiles::File> BigPageFiles::make(uint64_t bytes) const {
    constexpr const char* name = "memfd:omxsup";
    File f;
    f.writer.reset(openat(writing_.get(), name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!f.writer) return fail_errno("a file of big pages");
    f.reader.reset(openat(reading_.get(), name, O_RDONLY | O_CLOEXEC));
    if (unlinkat(writing_.get(), name, 0) < 0 || !f.reader) return fail_errno("a file of big pages");
    // Its length before its content: no page is bigger than what will be in it.
    if (ftruncate(f.writer.get(), static_cast<off_t>(bytes)) < 0) return fail_errno("a file of big pages");
    return f;
}

}  // namespace omx
