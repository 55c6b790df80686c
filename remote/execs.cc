// execve: home's deputy really execs. If that works, the guest's thread, held before its own execve, executes the stub
// instead, which ends all other threads and lets go of shared memory as every exec does; then the new image is
// restored.
#include "remote/debug.h"
#include "remote/worker.h"
#include "loader/capture.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

namespace omx {
namespace {

constexpr uint64_t kRedZoneBytes = 128;

// argv = {path, NULL}, envp = {NULL}, and the path, as they lie in the guest's memory.
struct ExecStrings {
    uint64_t argv[2];
    uint64_t envp[1];
    char path[8];
};

ExecStrings exec_strings_at(GuestAddr at) {
    return {.argv = {at.value + offsetof(ExecStrings, path), 0}, .envp = {0}, .path = "/stub"};
}

// Any private writable mapping will do: its content is of no use to anybody after the exec.
std::optional<GuestAddr> writable_place(HomeTid tid) {
    for (auto& e : maps_of(tid))
        if ((e.prot & PROT_WRITE) && !e.shared) return GuestAddr(e.end - sizeof(ExecStrings));
    return std::nullopt;
}

}  // namespace

void Worker::request_exec(Thread& t) {
    auto& r = t.at_stop;
    CallArgs args{r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9};
    auto nr = static_cast<uint32_t>(r.orig_rax);
    auto placement = place_of(nr, args);
    if (placement.place != Place::life) return go_home_for(t, 0, nr, args, placement.why);
    tell_mask(t);
    forward(t, 0, nr, args);
}

void Worker::exec_stub(Thread& t) {
    auto regs = t.at_stop;
    auto at = write_exec_strings(t, regs);
    if (!at) return image_failed(t.process->pid, "no writable memory is left in the process that executes");
    regs.orig_rax = SYS_execve;
    regs.rdi = at->value + offsetof(ExecStrings, path);
    regs.rsi = at->value + offsetof(ExecStrings, argv);
    regs.rdx = at->value + offsetof(ExecStrings, envp);
    tracee::set_registers(t.tid, regs);
    resume(t, {PTRACE_SYSCALL, 0});                 // to the exec event, or to the call's end if it fails
}

std::optional<GuestAddr> Worker::write_exec_strings(Thread& t, const user_regs_struct& regs) {
    auto& memory = t.process->memory;
    memory.through(t.tid);
    GuestAddr below_stack((regs.rsp - kRedZoneBytes - sizeof(ExecStrings)) & ~uint64_t{15});
    auto strings = exec_strings_at(below_stack);
    if (memory.write(below_stack, std::as_bytes(std::span(&strings, 1))) == sizeof strings) return below_stack;
    auto elsewhere = writable_place(t.tid);
    if (!elsewhere) return std::nullopt;
    strings = exec_strings_at(*elsewhere);
    if (memory.write(*elsewhere, std::as_bytes(std::span(&strings, 1))) != sizeof strings) return std::nullopt;
    return elsewhere;
}

// The process has one thread now, with the leader's number, whoever called execve; descriptors of ours are closed.
void Worker::on_exec_event(Thread& t) {
    auto& p = *t.process;
    OMX_DEBUG("{}: executes the stub", p.pid.value);
    auto threads = p.threads;
    for (pid_t tid : threads) call_over(*guests_.thread(HomeTid(tid)));
    auto& leader = guests_.only_leader_left(p);
    p.stage = Process::Stage::restoring;
    p.installed = std::make_shared<InstalledFiles>();
    std::erase_if(p.cpu_timers, [](auto& timer) { return timer.first >= 0; });    // setitimer's go on
    p.overruns.clear();
    restoring_begins(p);
    p.space = std::make_shared<LazySpace>();
    p.memory.replaced(p.space);
    p.memory.through(leader.tid);
    p.lane = {};
    for (pid_t tid : threads) {
        if (tid == p.pid.value) clone_lost_caller(HomeTid(tid));
        else clone_lost_thread(HomeTid(tid));
    }
    resume(leader);
}

}  // namespace omx
