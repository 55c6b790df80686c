#include "supervisor/descriptors.h"

#include <sys/syscall.h>

#include <algorithm>

namespace omx {

namespace {

// Calls that close, replace and make no descriptor, whatever their arguments are. Any other may.
bool leaves_numbers(uint32_t nr) {
    switch (nr) {
        case SYS_read:
        case SYS_write:
        case SYS_readv:
        case SYS_writev:
        case SYS_pread64:
        case SYS_pwrite64:
        case SYS_lseek:
        case SYS_fstat:
        case SYS_stat:
        case SYS_lstat:
        case SYS_newfstatat:
        case SYS_statx:
        case SYS_access:
        case SYS_faccessat:
        case SYS_getdents64:
        case SYS_readlink:
        case SYS_sendto:
        case SYS_recvfrom:
        case SYS_sendmsg:
        case SYS_getsockopt:
        case SYS_setsockopt:
        case SYS_poll:
        case SYS_ppoll:
        case SYS_select:
        case SYS_pselect6:
        case SYS_epoll_wait:
        case SYS_epoll_pwait:
        case SYS_epoll_ctl:
        case SYS_wait4:
        case SYS_kill:
        case SYS_rt_sigprocmask:
        case SYS_mmap:  // guard pages and temporary room around a call; a guest's mapping that is tried
        case SYS_munmap:
        case SYS_mprotect:
        case SYS_mremap:
        case SYS_madvise:
            return true;
        default:
            return false;
    }
}

}  // namespace

std::optional<DescriptorKind> KnownDescriptors::kind(HomePid process, int number) const {
    auto of = kinds_.find(process);
    if (of == kinds_.end()) return std::nullopt;
    auto known = of->second.find(number);
    return known == of->second.end() ? std::nullopt : std::optional(known->second);
}

void KnownDescriptors::note(HomePid process, int number, DescriptorKind kind) { kinds_[process][number] = kind; }

int KnownDescriptors::copy(HomePid process, int number) {
    for (auto& c : copies_)
        if (c.number == number && c.process == process) {
            c.used = ++uses_;
            return c.fd.get();
        }
    return -1;
}

void KnownDescriptors::keep(HomePid process, int number, UniqueFd copy) {
    make_room(process);
    copies_.push_back({process, number, std::move(copy), ++uses_});
}

// The oldest goes: of this process if it has its share, else of the job.
void KnownDescriptors::make_room(HomePid process) {
    auto of_process = [&](const Copy& c) { return c.process == process; };
    bool has_its_share = std::ranges::count_if(copies_, of_process) >= static_cast<ptrdiff_t>(kCopiesOfProcess);
    if (!has_its_share && copies_.size() < kCopies) return;
    auto oldest = copies_.end();
    for (auto c = copies_.begin(); c != copies_.end(); ++c)
        if ((!has_its_share || of_process(*c)) && (oldest == copies_.end() || c->used < oldest->used)) oldest = c;
    copies_.erase(oldest);
}

bool KnownDescriptors::before(HomePid process, std::span<const SlotOp> ops) {
    drop_copies(process);
    bool changes = false;
    for (auto& op : ops) {
        if (leaves_numbers(op.nr)) continue;
        changes = true;
        auto of = kinds_.find(process);
        if (of == kinds_.end()) continue;
        if (op.nr == SYS_close)
            of->second.erase(static_cast<int>(op.args[0]));
        else
            kinds_.erase(of);
    }
    return changes;
}

void KnownDescriptors::drop_copies(HomePid process) {
    std::erase_if(copies_, [&](const Copy& c) { return c.process == process; });
}

void KnownDescriptors::forget(HomePid process) {
    drop_copies(process);
    kinds_.erase(process);
}

}  // namespace omx
