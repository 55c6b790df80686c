// Calls on the memory of a process that may be another guest. Whether the caller may is for home's kernel to say, by who
// the two are there; it is asked first (job_memory.cc), and then the call is made here, where the memory is.
#include "remote/debug.h"
#include "remote/worker.h"
#include <climits>
#include <sys/syscall.h>
#include <sys/uio.h>

namespace omx {
namespace {

constexpr size_t kPieceBytes = 256 << 10;

// The vectors of process_vm_readv and its sister, with the errors of the kernel's own order.
struct Vectors {
    std::vector<iovec> local, remote;
    std::optional<int64_t> result;             // nothing is to be moved, and this is why
};

uint64_t total(const std::vector<iovec>& parts) {
    uint64_t bytes = 0;
    for (auto& part : parts) bytes += part.iov_len;
    return bytes;
}

std::optional<int64_t> read_vector(ProcessMemory& memory, uint64_t at, uint64_t count, std::vector<iovec>& into) {
    if (count > IOV_MAX) return -EINVAL;
    into.resize(count);
    auto bytes = std::as_writable_bytes(std::span(into));
    if (memory.read(GuestAddr(at), bytes) != bytes.size()) return -EFAULT;
    for (auto& part : into)
        if (part.iov_len > SSIZE_MAX) return -EINVAL;
    return std::nullopt;
}

Vectors vectors_of(ProcessMemory& memory, const CallArgs& args) {
    Vectors v;
    if (args[5] != 0) return v.result = -EINVAL, v;
    if ((v.result = read_vector(memory, args[1], args[2], v.local))) return v;
    if (total(v.local) == 0) return v.result = 0, v;
    if ((v.result = read_vector(memory, args[3], args[4], v.remote))) return v;
    if (total(v.remote) == 0) v.result = 0;
    return v;
}

// A place in a vector, going on through its parts.
struct Cursor {
    const std::vector<iovec>& parts;
    size_t part = 0;
    uint64_t done = 0;
    uint64_t at() const { return reinterpret_cast<uint64_t>(parts[part].iov_base) + done; }
    uint64_t left() {
        while (part < parts.size() && done == parts[part].iov_len) part++, done = 0;
        return part < parts.size() ? parts[part].iov_len - done : 0;
    }
};

int64_t move_bytes(ProcessMemory& from, const std::vector<iovec>& there, ProcessMemory& to,
                   const std::vector<iovec>& here) {
    Cursor source{there}, target{here};
    Bytes piece(kPieceBytes);
    int64_t moved = 0;
    while (auto bytes = std::min({source.left(), target.left(), uint64_t{kPieceBytes}})) {
        auto got = from.read(GuestAddr(source.at()), std::span(piece).first(bytes));
        auto put = to.write(GuestAddr(target.at()), View(piece).first(got));
        moved += static_cast<int64_t>(put);
        source.done += put, target.done += put;
        if (put < bytes) return moved ? moved : -EFAULT;
    }
    return moved;
}

}  // namespace

Worker::Process* Worker::guest_of(uint64_t number) {
    auto thread = guests_.thread(HomeTid(static_cast<pid_t>(number)));
    return thread ? thread->process : nullptr;
}

void Worker::begin_memory_call(Thread& t, uint64_t notification, uint32_t nr, const CallArgs& args,
                               std::string_view why) {
    auto& p = *t.process;
    auto owner = guest_of(args[0]);
    switch (nr) {
        case SYS_process_vm_readv: case SYS_process_vm_writev: {
            if (!owner) break;
            if (owner == &p && p.space->empty()) { p.listener->proceed(notification); return; }
            p.memory.through(t.tid);
            if (auto v = vectors_of(p.memory, args); v.result) {
                p.listener->answer(notification, *v.result);
                return;
            }
            forward(t, notification, nr, args, true);
            return;
        }
        case SYS_get_robust_list:
            if (!owner) break;
            if (owner == &p) { p.listener->proceed(notification); return; }
            forward(t, notification, nr, args, true);
            return;
        // Who is a guest here and who is at home have no memory in common: that is what home says, too.
        case SYS_kcmp: forward(t, notification, nr, args, owner && guest_of(args[1])); return;
        default: break;
    }
    go_home_for(t, notification, nr, args, why);
}

// Home's kernel allows it. Its owner may have gone home meanwhile.
void Worker::finish_memory_copy(Thread& t, const GuestCall& call) {
    auto owner = guest_of(call.args[0]);
    if (!owner || owner->stage != Process::Stage::running || owner->homing)
        return go_home_for(t, call.notification, call.nr, call.args, "the memory of another process is at home");
    auto& mine = t.process->memory;
    auto& theirs = owner->memory;
    mine.through(t.tid), theirs.through(HomeTid(static_cast<pid_t>(call.args[0])));
    theirs.take_missing();
    auto v = vectors_of(mine, call.args);
    int64_t result = v.result ? *v.result
                     : call.nr == SYS_process_vm_readv ? move_bytes(theirs, v.remote, mine, v.local)
                                                       : move_bytes(mine, v.local, theirs, v.remote);
    if (auto missing = theirs.take_missing()) return wait_for_content(t, call.notification, *missing);
    OMX_DEBUG("{}: {} of {} = {}", t.tid.value, call_name(call.nr), owner->pid.value, result);
    t.process->listener->answer(call.notification, result);
}

}  // namespace omx
