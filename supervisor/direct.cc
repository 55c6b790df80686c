#include "supervisor/direct.h"

#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

namespace omx {

namespace {

constexpr int kNoWait = 0x00000008;    // RWF_NOWAIT, 4.14
constexpr int kNoSignal = 0x00000100;  // RWF_NOSIGNAL, 6.18: EPIPE without SIGPIPE

int64_t call(uint32_t nr, int fd, const CallArgs& a) {
    auto result = syscall(nr, fd, a[1], a[2], a[3], a[4], a[5]);
    return result < 0 ? -errno : result;
}

// What was not asked for in order to avoid waiting must not be told the guest.
std::optional<int64_t> unless_odd(int64_t result) {
    switch (result) {
        case -EAGAIN:
        case -EPIPE:
        case -EINTR:
        case -EOPNOTSUPP:
        case -EFBIG:
        case -EINVAL:
            return std::nullopt;
        default:
            return result;
    }
}

std::optional<int64_t> pipe_transfer(const HomeCall& c, int fd) {
    iovec one{reinterpret_cast<void*>(c.deputy[1]), c.deputy[2]};
    ssize_t n;
    if (c.nr == SYS_read)
        n = preadv2(fd, &one, 1, -1, kNoWait);
    else if (c.nr == SYS_write && c.deputy[2] <= PIPE_BUF)
        n = pwritev2(fd, &one, 1, -1, kNoWait | kNoSignal);  // all or nothing
    else
        return std::nullopt;
    return unless_odd(n < 0 ? -errno : n);
}

}  // namespace

OwnArena::OwnArena() {
    void* p = mmap(nullptr, kKept, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    kept_ = p == MAP_FAILED ? nullptr : static_cast<std::byte*>(p);
}

OwnArena::~OwnArena() {
    reset();
    if (kept_) munmap(kept_, kKept);
}

void OwnArena::reset() {
    used_ = 0;
    unusual = false;
    for (auto [p, n] : more_) munmap(p, n);
    more_.clear();
}

Arena::Piece OwnArena::allocate(size_t bytes, size_t alignment) {
    size_t at = (used_ + alignment - 1) / alignment * alignment;
    if (kept_ && at + bytes <= kKept) {
        used_ = at + bytes;
        return {kept_ + at, DeputyAddr(reinterpret_cast<uint64_t>(kept_ + at))};
    }
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        unusual = true;
        return {};
    }
    more_.emplace_back(p, bytes);
    return {static_cast<std::byte*>(p), DeputyAddr(reinterpret_cast<uint64_t>(p))};
}

bool may_run_directly(uint32_t nr, const CallArgs&) {
    switch (nr) {
        case SYS_read:
        case SYS_write:
        case SYS_pread64:
        case SYS_pwrite64:
        case SYS_readv:
        case SYS_writev:
        case SYS_preadv:
        case SYS_preadv2:
        case SYS_pwritev:
        case SYS_lseek:
        case SYS_fstat:
            return true;
        default:
            return false;
    }
}

namespace {
// Of the /proc that has our numbers; another one's are of a namespace that no job leaves home with.
bool is_in_proc(const struct stat& st) {
    static const dev_t proc = [] {
        struct stat root;
        return stat("/proc", &root) == 0 ? root.st_dev : 0;
    }();
    return st.st_dev == proc;
}
}  // namespace

DescriptorKind kind_of(int fd) {
    struct stat st;
    if (fstat(fd, &st) != 0) return DescriptorKind::other;  // O_PATH and the like: the kernel's words, from the deputy
    if (S_ISREG(st.st_mode)) return is_in_proc(st) ? DescriptorKind::proc : DescriptorKind::regular;
    if (S_ISFIFO(st.st_mode)) return DescriptorKind::pipe;
    bool harmless = S_ISCHR(st.st_mode) && major(st.st_rdev) == 1 && (minor(st.st_rdev) == 3 || minor(st.st_rdev) == 5);
    return harmless ? DescriptorKind::harmless_device : DescriptorKind::other;  // null and zero
}

std::optional<int64_t> run_directly(const HomeCall& c, int fd, DescriptorKind kind) {
    switch (kind) {
        case DescriptorKind::regular:
        case DescriptorKind::proc:
        case DescriptorKind::harmless_device: {
            auto result = call(c.nr, fd, c.deputy);
            return c.nr == SYS_lseek || result >= 0 ? std::optional(result) : unless_odd(result);
        }
        case DescriptorKind::pipe:
            return pipe_transfer(c, fd);
        case DescriptorKind::other:
            return std::nullopt;
    }
    return std::nullopt;
}

}  // namespace omx
