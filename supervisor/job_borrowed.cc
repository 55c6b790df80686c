// The child of a vfork that has come home. On the node its memory is its parent's, and the parent stands in its vfork as
// long as the child's guest is there. So that one stays, at rest, until the child executes or ends at home; what the child
// has written by then is written there, where its parent will find it: posix_spawn's children tell so what went wrong.
#include <sys/syscall.h>

#include <algorithm>

#include "loader/image_check.h"
#include "supervisor/job.h"

namespace omx {

namespace {
size_t hash_of(View page) {
    return std::hash<std::string_view>{}({reinterpret_cast<const char*>(page.data()), page.size()});
}
}  // namespace

void Job::note_borrowed(Homecoming& h) {
    if (!h.image->borrows) return;
    h.borrowed = std::make_unique<Borrowed>();
    for (auto& g : h.image->regions) {
        bool can_change = g.kind != RegionKind::vdso && g.kind != RegionKind::shared_file;
        // A page of zeroes may be news, whatever it is of.
        if (can_change) h.borrowed->ranges.push_back({g.start, g.end, g.kind == RegionKind::shared_anonymous, true});
    }
}

void Job::note_pages(Borrowed& b, const PagesFrame& pages) {
    for (size_t at = 0; at + kPage <= pages.data.size(); at += kPage)
        b.pages[pages.address + at] = hash_of(pages.data.subspan(at, kPage));
}

void Job::send_written(Process& p, HomeTid tid) {
    constexpr size_t kRunBytes = 1 << 20;
    static const size_t untouched = hash_of(View(Bytes(kPage)));
    auto source = PageSource::open(tid, p.borrowed->ranges);
    if (!source || !link_up_) return;
    for (auto run = source->next(kRunBytes); run && *run; run = source->next(kRunBytes)) {
        View all((*run)->bytes);
        for (size_t at = 0; at + kPage <= all.size(); at += kPage) {
            auto page = all.subspan(at, kPage);
            auto [known, is_new] = p.borrowed->pages.try_emplace((*run)->address + at, untouched);
            auto hash = hash_of(page);
            if (std::exchange(known->second, hash) == hash) continue;
            link_.send(FrameType::written, 0, PagesFrame{p.pid, known->first, false, page});
        }
    }
}

void Job::give_back(Process& p, HomeTid tid) {
    send_written(p, tid);
    p.borrowed.reset();
    end_what_is_left(p);
}

// At the end of an execve that succeeds the memory is gone already: so it is looked at in front of each.
void Job::on_borrowers_call(Thread& t) {
    user_regs_struct regs;
    bool begins = tracee::registers(t.tid, regs) && static_cast<int64_t>(regs.rax) == -ENOSYS;
    if (begins && (regs.orig_rax == SYS_execve || regs.orig_rax == SYS_execveat)) send_written(*t.process, t.tid);
    tracee::resume_to_syscall_stop(t.tid);
}

}  // namespace omx
