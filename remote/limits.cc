// Limits that the node's kernel has to keep, because memory and CPU time are used here. Home knows them, changes them
// by its own rules and answers who asks; what it says is followed here as far as this node lets it: once lowered, a hard
// limit stays so, even where home's root may raise it again.
#include "loader/proc_files.h"
#include "loader/text_scan.h"
#include "remote/worker.h"
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

namespace omx {
namespace {

// Not by what home counts: locked memory is asked for each time (finish_lock).
bool is_kept_here(uint32_t resource) {
    return resource == RLIMIT_AS || resource == RLIMIT_DATA || resource == RLIMIT_STACK || resource == RLIMIT_CPU;
}

void limit(HomePid pid, uint32_t resource, uint64_t soft, uint64_t hard) {
    auto what = static_cast<__rlimit_resource>(resource);
    rlimit here{};
    if (prlimit(pid.value, what, nullptr, &here) < 0) return;
    rlimit wanted{std::min<rlim_t>(soft, here.rlim_max), std::min<rlim_t>(hard, here.rlim_max)};
    prlimit(pid.value, what, &wanted, nullptr);
}

// A field of /proc/PID/status that is in kB. Beyond all limits if it can't be read.
uint64_t bytes_of(HomePid pid, std::string_view field) {
    auto process = ProcDir::open(pid);
    auto text = process ? process->read_text("status") : std::unexpected(process.error());
    auto at = text ? text->find(field) : std::string::npos;
    if (at == std::string::npos) return RLIM_INFINITY;
    TextScan line(std::string_view(*text).substr(at + field.size()));
    while (line.skip(' ') || line.skip('\t')) {}
    uint64_t kilobytes = 0;
    return line.decimal(kilobytes) ? kilobytes << 10 : RLIM_INFINITY;
}

// How much would be locked when the call has been made, or soon after.
uint64_t locked_after(HomePid pid, uint32_t nr, const CallArgs& args) {
    if (nr == SYS_mlockall) return args[0] & MCL_FUTURE ? RLIM_INFINITY : bytes_of(pid, "\nVmSize:");
    uint64_t locked = bytes_of(pid, "\nVmLck:");
    return locked + std::min<uint64_t>(args[1], RLIM_INFINITY - locked);
}

}  // namespace

// Not before all is mapped: the stub's own needs are not the program's.
void Worker::apply_limits(HomePid pid, const NodeLimits& l) {
    limit(pid, RLIMIT_AS, l.as_soft, l.as_hard);
    limit(pid, RLIMIT_DATA, l.data_soft, l.data_hard);
    limit(pid, RLIMIT_STACK, l.stack_soft, l.stack_hard);
    limit(pid, RLIMIT_CPU, l.cpu_soft, l.cpu_hard);
}

// What a call of the setrlimit family wants. Before it is made: old and new limit may be one place in memory.
std::optional<rlimit> Worker::wanted_limit(Thread& t, uint32_t nr, const CallArgs& args) {
    if (nr != SYS_setrlimit && nr != SYS_prlimit64) return std::nullopt;
    uint64_t at = args[nr == SYS_prlimit64 ? 2 : 1];
    rlimit wanted{};
    auto bytes = std::as_writable_bytes(std::span(&wanted, 1));
    t.process->memory.through(t.tid);
    if (!at || t.process->memory.read(GuestAddr(at), bytes) != bytes.size()) return std::nullopt;
    return wanted;
}

// Home has let a limit be changed, perhaps another process's. (A call on the caller's own is made here as well.)
void Worker::follow_limit(Thread& t, const GuestCall& call) {
    auto wanted = std::exchange(t.wanted_limit, std::nullopt);
    bool any_process = call.nr == SYS_prlimit64;
    auto resource = static_cast<uint32_t>(call.args[any_process ? 1 : 0]);
    if (!wanted || call.both || !is_kept_here(resource)) return;
    HomePid pid(any_process && call.args[0] ? static_cast<pid_t>(call.args[0]) : t.process->pid.value);
    if (guests_.process(pid)) limit(pid, resource, wanted->rlim_cur, wanted->rlim_max);
}

// Home has said how much its process may lock: by its limit, or all if it is privileged. This kernel then decides, if
// it is allowed to lock that much itself.
void Worker::finish_lock(Thread& t, const GuestCall& call, const Reply& reply) {
    Reader r(reply.attachment);
    auto most = r.get<uint64_t>();
    if (!r.finished()) return link_ended({"home's answer to mlock makes no sense", EPROTO});
    call_over(t);
    auto pid = t.process->pid;
    rlimit here{};
    if (prlimit(pid.value, RLIMIT_MEMLOCK, nullptr, &here) < 0) here.rlim_max = 0;
    if (most > here.rlim_max && locked_after(pid, call.nr, call.args) > here.rlim_max)
        return go_home_for(t, call.notification, call.nr, call.args, "the node doesn't let it lock so much memory");
    limit(pid, RLIMIT_MEMLOCK, most, here.rlim_max);
    if (call.nr == SYS_mlockall) t.process->locks_future = call.args[0] & MCL_FUTURE ? uint32_t(call.args[0]) : 0;
    t.process->listener->proceed(call.notification);
}

}  // namespace omx
