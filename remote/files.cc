// mmap of home's files. The guest's descriptor table here is empty but for these: the content of a file stands at the
// number that the file has at home, for the moment in which the kernel makes the mapping.
#include "remote/debug.h"
#include "remote/worker.h"
#include <sys/syscall.h>

namespace omx {

// Home has tried the mapping, so its errors are the kernel's. On success it names the file, or nothing: zeroes.
void Worker::finish_mmap(Thread& t, const GuestCall& call, const Reply& reply) {
    if (reply.head.result < 0) {
        call_over(t);
        t.process->listener->answer(call.notification, reply.head.result);
        return;
    }
    if (reply.attachment.empty()) {
        auto zeroes = sealed_zeroes(call.args[5] + call.args[1]);
        if (!zeroes) return install_and_proceed(t.tid, call, std::unexpected(zeroes.error()));
        return install_and_proceed(t.tid, call, std::make_shared<const UniqueFd>(std::move(*zeroes)));
    }
    Reader r(reply.attachment);
    auto key = FileKey::read(r);
    if (r.ok() && r.left()) {
        auto grant = SharedGrant::read(r);
        if (r.finished() && grant.content.size() == key.bytes) return map_shared(t, call, key, grant);
    }
    if (!r.finished()) return link_ended({"home's answer to mmap makes no sense", EPROTO});
    if (to_be_mapped_lazily(*t.process, call.args, key)) return map_lazily(t, call, key);
    // Other guests' calls go on while the content comes. The thread may have died when it is here.
    contents_.want(key, [this, tid = t.tid, call](Result<SharedFd> content) {
        install_and_proceed(tid, call, std::move(content));
    });
}

void Worker::install_and_proceed(HomeTid tid, const GuestCall& call, Result<SharedFd> content) {
    auto t = guests_.thread(tid);
    if (!t || t->call.id != call.id || t->process->killed) return;
    call_over(*t);
    auto& p = *t->process;
    if (!content) return go_home_for(*t, call.notification, call.nr, call.args, content.error().what);
    auto number = static_cast<int>(call.args[4]);
    auto installed = p.listener->install(call.notification, (*content)->get(), number);
    if (!installed) {
        if (installed.error().code == ENOENT) return;                       // it has died
        return go_home_for(*t, call.notification, call.nr, call.args,
                           fmt::format("{} (the node's limit of open files is too low?)", installed.error().what));
    }
    p.installed->insert(number);
    turn_lane_off(p);                                                       // from now on we must see its closes
    p.listener->proceed(call.notification);
}

// When the guest closes or replaces such a number the content must not stay pinned by it. Nobody but the guest can
// close it, so something that costs nothing is put in its place.
void Worker::release_installed(Thread& t, const GuestCall& call) {
    auto& numbers = *t.process->installed;
    if (numbers.empty()) return;
    uint64_t first, last;
    switch (call.nr) {
        case SYS_close: first = last = static_cast<uint32_t>(call.args[0]); break;
        case SYS_dup2: case SYS_dup3: first = last = static_cast<uint32_t>(call.args[1]); break;
        case SYS_close_range:
            first = static_cast<uint32_t>(call.args[0]), last = static_cast<uint32_t>(call.args[1]);
            break;
        default: return;
    }
    static const auto nothing = sealed_zeroes(0);
    for (auto it = numbers.lower_bound(static_cast<int>(std::min<uint64_t>(first, INT32_MAX)));
         it != numbers.end() && static_cast<uint64_t>(*it) <= last;) {
        if (nothing) (void)t.process->listener->install(call.notification, nothing->get(), *it);
        it = numbers.erase(it);
    }
}

}  // namespace omx
