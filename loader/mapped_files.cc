#include "loader/mapped_files.h"
#include "loader/image_check.h"
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace omx {
namespace {

// On btrfs and overlay file systems stat and maps name different devices (and inodes) for one file. Then map a page
// of it ourselves and compare what our own maps say: the same kernel code wrote both.
bool maps_like(int fd, const MapsEntry& e) {
    void* page = ::mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, fd, 0);
    if (page == MAP_FAILED) return false;
    std::ostringstream text;
    text << std::ifstream("/proc/self/maps").rdbuf();
    ::munmap(page, kPage);
    auto own = parse_maps(text.str());
    if (!own) return false;
    for (const auto& o : *own)
        if (o.start <= reinterpret_cast<uint64_t>(page) && reinterpret_cast<uint64_t>(page) < o.end)
            return o.inode == e.inode && o.dev_major == e.dev_major && o.dev_minor == e.dev_minor;
    return false;
}

bool stats_like(int fd, const MapsEntry& e) {
    struct stat s;
    return ::fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_ino == e.inode && major(s.st_dev) == e.dev_major &&
           minor(s.st_dev) == e.dev_minor;
}

bool is_regular(int fd) {
    struct stat s;
    return ::fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
}

}  // namespace

// Three ways to one inode: by its path (in the process's own root), the program by its link even if it was deleted or
// replaced, and the kernel's link per mapping, which finds every file but is only for the privileged.
UniqueFd MappedFiles::open(const MapsEntry& e) const {
    const std::string ways[] = {"root" + e.path, "exe", fmt::format("map_files/{:x}-{:x}", e.start, e.end)};
    std::vector<UniqueFd> others;
    for (const auto& way : ways) {
        auto fd = process_.open_file(way.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY);
        if (!fd) continue;
        if (stats_like(fd->get(), e)) return std::move(*fd);
        others.push_back(std::move(*fd));
    }
    for (auto& fd : others)
        if (is_regular(fd.get()) && maps_like(fd.get(), e)) return std::move(fd);
    return {};
}

Result<MappedFiles::Use> MappedFiles::use(const MapsEntry& e) {
    auto [at, is_new] = known_.try_emplace({makedev(e.dev_major, e.dev_minor), e.inode});
    Known& known = at->second;
    if (!is_new) return known.use;
    UniqueFd fd = open(e);
    if (!fd) return known.use;
    known.fd.reset(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));      // the registrar keeps the other; ours compares pages
    if (!known.fd) return fail_errno(e.path);
    auto key = registrar_(std::move(fd), e.path);
    if (!key) return std::unexpected(key.error());
    keys_.push_back(*key);
    known.use = {static_cast<int32_t>(keys_.size() - 1), known.fd.get()};
    return known.use;
}

}  // namespace omx
