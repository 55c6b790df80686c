// Files that guests have mapped shared while they are away (shared_files.h): when one is taken in, when its changes are
// told, when it is over.
#include <fcntl.h>
#include <sys/mman.h>

#include "supervisor/job.h"

namespace omx {

// Its mmap has been tried, and succeeds. What is told meanwhile must not be missing in the content.
void Job::share_file(Thread& t, UniqueFd file) {
    bool executable = t.active->call.guest[2] & PROT_EXEC;
    bool writable = (fcntl(file.get(), F_GETFL) & O_ACCMODE) != O_RDONLY;
    auto shared = shared_.share(std::move(file), executable, next_file_);
    if (!shared) return reply(t, {0, kComeHome}, std::as_bytes(std::span(shared.error().what)));
    tell_shared();
    Bytes attachment = shared_.grant(**shared, writable);
    reply(t, {0, 0}, View(attachment));
    SharedFiles::granted(**shared);
    watch_shared();
}

void Job::watch_shared() {
    if (std::exchange(shared_watched_, true)) return;
    if (shared_.events() >= 0)
        loop_.watch_readable(shared_.events(), [this] { on_shared_events(); });
}

void Job::on_shared_events() {
    constexpr std::chrono::milliseconds kTimeToMap{20};
    bool opened = link_up_ && shared_.on_events(link_);
    // Once for many that open one behind the other.
    if (opened && !opened_look_.is_set()) opened_look_.ring_in(kTimeToMap);
}

// Ahead of everything from which a guest may learn that something has happened here.
void Job::tell_shared() {
    if (!shared_.empty() && link_up_) shared_.tell(link_);
}

void Job::on_shared(const SharedFrame& news) {
    if (auto done = shared_.on_changes(news); !done) link_lost(done.error());
}

void Job::on_shared_done(const SharedDone& done) { shared_.on_done(done); }

// Of the calling guest's mappings the node knows: it says which file, or 0 for several.
void Job::sync_shared(Thread&, const CallHead& head, const CallOrigin& from) {
    answer_without_deputy(head, from, {.result = shared_.sync(head.args[3], static_cast<int>(head.args[2]))});
}

}  // namespace omx
