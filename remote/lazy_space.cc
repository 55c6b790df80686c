#include "remote/lazy_space.h"
#include "loader/capture.h"
#include <algorithm>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace omx {
namespace {

// Without the first a mapping that mremap moves would not be watched any more. MADV_DONTNEED may go unheard: what has
// been dropped is read from the memfd again.
Status shake_hands(int fd) {
    uffdio_api api{.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_UNMAP, .ioctls = 0};
    if (ioctl(fd, UFFDIO_API, &api) < 0) return fail_errno("userfaultfd");
    return {};
}

// A huge page in a memfd would be there as a whole, zeroes, when the first piece of it is. Older kernels make one of
// many small pages, with zeroes in the gaps, also where a guest has only been advised to want them (khugepaged, before
// 6.4). The file says "always within_size advise [never] deny force"; that of one size has "inherit" too.
bool huge_memfds(const std::filesystem::path& file) {
    std::ifstream in(file);
    std::string text;
    std::getline(in, text);
    return !text.empty() && !text.contains("[never]") && !text.contains("[deny]") && !text.contains("[inherit]");
}

}  // namespace

Status lazy_mappings_work() {
    UniqueFd fd(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY)));
    if (!fd) return fail_errno("userfaultfd");
    OMX_TRY(shake_hands(fd.get()));
    std::filesystem::path huge = "/sys/kernel/mm/transparent_hugepage";
    bool any = huge_memfds(huge / "shmem_enabled");
    std::error_code none;
    for (auto& size : std::filesystem::directory_iterator(huge, none))
        any |= huge_memfds(size.path() / "shmem_enabled");
    if (any) return fail(fmt::format("{}/shmem_enabled gives memfds huge pages", huge.string()));
    return {};
}

LazySpace::~LazySpace() {
    if (faults_) loop_->unwatch_readable(faults_.get());
}

Status LazySpace::adopt(HomeTid tid, int number, Loop& loop, Loop::Handler on_faults) {
    constexpr unsigned of_thread = O_EXCL;                       // PIDFD_THREAD (6.9): the main thread may have ended
    UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, tid.value, of_thread)));
    if (!pidfd) pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, tid.value, 0)));
    if (!pidfd) return fail_errno("pidfd_open of a guest");
    UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), number, 0)));
    if (!fd) return fail_errno("can't take the guest's userfaultfd");
    OMX_TRY(shake_hands(fd.get()));
    faults_ = std::move(fd);
    number_ = number;
    loop_ = &loop;
    loop.watch_readable(faults_.get(), std::move(on_faults));
    return {};
}

Status LazySpace::watch(uint64_t start, uint64_t end) {
    uffdio_register range{.range = {.start = start, .len = end - start}, .mode = UFFDIO_REGISTER_MODE_MISSING,
                          .ioctls = 0};
    if (ioctl(faults_.get(), UFFDIO_REGISTER, &range) < 0) return fail_errno("watching a mapping");
    return {};
}

// Who moves or unmaps memory waits until that has been read.
LazySpace::News LazySpace::take_news() {
    uffd_msg messages[64];
    News news;
    auto n = read(faults_.get(), messages, sizeof messages);
    for (size_t i = 0; n > 0 && i < static_cast<size_t>(n) / sizeof(uffd_msg); i++) {
        auto& m = messages[i];
        if (m.event == UFFD_EVENT_PAGEFAULT) news.pages.push_back(m.arg.pagefault.address & ~uint64_t{4095});
        if (m.event == UFFD_EVENT_UNMAP) news.unmapped = true;
    }
    return news;
}

void LazySpace::wake(uint64_t page) {
    uffdio_range range{.start = page, .len = 4096};
    (void)ioctl(faults_.get(), UFFDIO_WAKE, &range);             // fails if the memory has gone: so has who waited
}

void LazySpace::add(std::shared_ptr<LazyFile> file) {
    if (std::ranges::find(files_, file) == files_.end()) files_.push_back(std::move(file));
}

std::shared_ptr<LazyFile> LazySpace::file(uint64_t device, uint64_t inode) const {
    auto it = std::ranges::find_if(files_, [&](auto& f) { return f->is(device, inode); });
    return it == files_.end() ? nullptr : *it;
}

void LazySpace::keep_only_mapped(std::span<const MapsEntry> maps) {
    std::erase_if(files_, [&](auto& f) {
        return !f->wanted() && std::ranges::none_of(maps, [&](auto& e) { return f->is(e.id().device, e.inode); });
    });
}

}  // namespace omx
