// Guests' shared mappings of home's files (shared_copies.h): made here, told of ahead of everything that a guest says,
// and once in a while in between, for those at home who only read the file.
#include "loader/guest_capture.h"
#include "remote/debug.h"
#include "remote/worker.h"
#include <algorithm>
#include <sys/mman.h>
#include <sys/syscall.h>

namespace omx {
namespace {

constexpr unsigned kSoonestMs = 1, kLatestMs = 8, kTicksToLookForDone = 16;

// Calls by which it could be seen that a file is still open for a mapping that is no more.
bool may_meet_lock_or_count(uint32_t nr) {
    switch (nr) {
        case SYS_close: case SYS_execve: case SYS_execveat: case SYS_fcntl: case SYS_flock: case SYS_umount2:
            return true;
        default: return false;
    }
}

}  // namespace

void Worker::map_shared(Thread& t, const GuestCall& call, const FileKey& key, const SharedGrant& grant) {
    auto file = shared_copies_.take(key, grant);
    if (!file) return install_and_proceed(t.tid, call, std::unexpected(file.error()));
    auto& p = *t.process;
    OMX_DEBUG("{}: maps shared file {}, {} bytes", t.tid.value, key.handle, key.bytes);
    // Its calls must come behind what it has written, which we tell.
    p.lane.alone = false;
    if (p.homing) {                                          // with those who share with it now; this will be one more
        call_over(t);
        p.listener->answer(call.notification, -abi::kErestartNoIntr);
        return;
    }
    t.maps_shared = key.handle;
    install_and_proceed(t.tid, call, grant.writable ? (*file)->memfd : (*file)->reader);
    tick_for_shared(kSoonestMs);
}

// Ahead of a call, or of the news of an end.
void Worker::tell_shared(uint32_t nr) {
    if (shared_copies_.empty()) return;
    shared_copies_.tell();
    if (may_meet_lock_or_count(nr)) look_for_done();
}

// It may have: its mmap has been let go on, and it hasn't been heard of since.
bool Worker::may_be_mapping(const Process& p, uint64_t handle) {
    return std::ranges::any_of(p.threads, [&](pid_t tid) {
        return guests_.thread(HomeTid(tid))->maps_shared == handle;
    });
}

bool Worker::has_mapped(const Process& p, const SharedCopies::File& f) {
    return std::ranges::any_of(p.threads, [&](pid_t tid) {       // a leader that has ended has no maps any more
        return std::ranges::any_of(maps_of(HomeTid(tid)),
                                   [&](auto& e) { return is_shared_file(e) && e.inode == f.inode; });
    });
}

void Worker::look_for_done() {
    std::vector<uint64_t> done;
    for (auto& [handle, f] : shared_copies_.files()) {
        auto may_be_mapping_it = [&](auto& p) { return may_be_mapping(*p.second, handle); };
        auto has_mapped_it = [&](auto& p) { return has_mapped(*p.second, *f); };
        if (std::ranges::any_of(guests_.processes(), may_be_mapping_it)) continue;
        // The kernel doesn't count the mappings of those who may only read.
        bool over = f->readable ? std::ranges::none_of(guests_.processes(), has_mapped_it)
                                : SharedCopies::sealed_off(*f);
        if (over) done.push_back(handle);
    }
    for (auto handle : done) shared_copies_.done(handle);
}

// It has ended. Who waits for that at home must find no trace of its mappings.
void Worker::let_go_of_shared(Process& p) {
    if (shared_copies_.empty()) return;
    for (pid_t tid : p.threads) guests_.thread(HomeTid(tid))->maps_shared = 0;
    shared_copies_.tell();
    look_for_done();
}

// ---- at rest ----

void Worker::tick_for_shared(unsigned ms) {
    shared_tick_ms_ = ms;
    shared_tick_.ring_in(std::chrono::milliseconds(ms));
}

// While all who could write are in calls at home there is nothing to look for: the next answer begins it again.
void Worker::on_shared_tick() {
    if (shared_copies_.empty()) return;
    bool any = shared_copies_.tell();
    if (++shared_ticks_ % kTicksToLookForDone == 0) look_for_done();
    bool somebody_runs = std::ranges::any_of(guests_.processes(), [&](auto& p) {
        return std::ranges::any_of(p.second->threads,
                                   [&](pid_t tid) { return guests_.thread(HomeTid(tid))->call.id == 0; });
    });
    if (somebody_runs && !shared_copies_.empty()) tick_for_shared(any ? kSoonestMs : std::min(2 * shared_tick_ms_, kLatestMs));
}

// ---- what home says ----

void Worker::on_shared(const SharedFrame& news) {
    if (auto done = shared_copies_.on_changes(news); !done) link_ended(done.error());
}

void Worker::on_shared_over(const SharedOver& over) {
    auto file = shared_copies_.find(over.handle);
    if (!file) return;
    for (auto& [pid, p] : guests_.processes())
        if (has_mapped(*p, *file) || may_be_mapping(*p, over.handle)) bring_home(*p, over.reason, "mmap");
    look_for_done();
}

// The file of home's for which this one stands. The others are memfds all, which an inode tells apart.
const FileKey* Worker::file_of(FileId id) const {
    if (auto content = contents_.file_of(id)) return content;
    if (auto shared = shared_copies_.of_inode(id.inode)) return &shared->key;
    return lazy_files_.file_of(id.inode);
}

// ---- msync ----

// Where the guest maps none of these files it is the node's kernel's alone. Else home does its part first.
void Worker::sync_shared(Thread& t, uint64_t notification, const CallArgs& args) {
    std::vector<uint64_t> handles;
    if (!shared_copies_.empty())
        for (auto& e : maps_of(t.tid))
            if (auto f = is_shared_file(e) ? shared_copies_.of_inode(e.inode) : nullptr;
                f && e.start < args[0] + args[1] && args[0] < e.end)
                handles.push_back(f->key.handle);
    if (handles.empty()) {
        t.process->listener->proceed(notification);
        return;
    }
    bool one = std::ranges::all_of(handles, [&](auto h) { return h == handles[0]; });
    forward(t, notification, SYS_msync, {args[0], args[1], args[2], one ? handles[0] : 0}, true);
}

}  // namespace omx
