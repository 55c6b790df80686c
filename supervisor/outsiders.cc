#include "supervisor/outsiders.h"

#include <fcntl.h>
#include <unistd.h>

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>

#include "loader/capture.h"

namespace omx {

namespace {
// The kernel gives a write lease only to the one open file that there is, and a read lease only while there is none
// that may write. It is given back at once. (It takes a file of our user's.) 0, or an errno.
int try_lease(int fd, int kind) {
    auto owner = fcntl(fd, F_GETOWN);
    if (fcntl(fd, F_SETLEASE, kind) < 0) return errno;
    fcntl(fd, F_SETLEASE, F_UNLCK);
    fcntl(fd, F_SETOWN, owner);                  // the lease has made it us
    return 0;
}

// Then nobody else has a mapping of it either, whoever he is. A file without a name is opened by handing descriptors
// on, which makes no other open file.
bool nobody_else_has_it_open(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_nlink > 0 && try_lease(fd, F_WRLCK) == 0;
}

struct Directory {
    explicit Directory(const char* path) : stream(opendir(path), &closedir) {}
    std::unique_ptr<DIR, int (*)(DIR*)> stream;
};
}  // namespace

std::string somebody_else_has(int fd, const std::byte* ours) {
    if (nobody_else_has_it_open(fd)) return {};
    // As maps name it: not every file system's device is stat's.
    auto at = reinterpret_cast<uint64_t>(ours);
    auto mine = maps_of(HomeTid(getpid()));
    auto file = std::ranges::find_if(mine, [&](auto& e) { return e.start <= at && at < e.end; });
    Directory proc("/proc");
    if (file == mine.end() || !proc.stream) return "who else has a file mapped shared can't be found out";
    while (auto entry = readdir(proc.stream.get())) {
        pid_t pid = 0;
        std::string_view name(entry->d_name);
        if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc() || pid == getpid()) continue;
        for (auto& e : maps_of(HomeTid(pid)))
            if (e.shared && e.inode == file->inode && e.dev_major == file->dev_major && e.dev_minor == file->dev_minor)
                return fmt::format("a file that process {} has mapped shared, too, can't be on two machines at once",
                                   pid);
    }
    return {};
}

bool somebody_has_it_to_write(int fd) { return try_lease(fd, F_RDLCK) == EAGAIN; }

}  // namespace omx
