// CPU time as a guest is told it: what its deputy has used at home, which home's kernel says, and what the guest has
// used here.
#include "remote/debug.h"
#include "remote/worker.h"
#include <sys/syscall.h>
#include <sys/times.h>
#include <sys/wait.h>

namespace omx {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;

// A struct in a guest's memory, changed by `change`, if it can be read and written.
template <class Struct, class Change> void change_in(GuestMemory& memory, uint64_t address, Change change) {
    Struct value{};
    GuestAddr at(address);
    if (at.null() || memory.read(at, std::as_writable_bytes(std::span(&value, 1))) != sizeof value) return;
    change(value);
    memory.write(at, std::as_bytes(std::span(&value, 1)));
}

uint64_t to_ns(const timespec& t) {
    return static_cast<uint64_t>(t.tv_sec) * kNsPerSecond + static_cast<uint64_t>(t.tv_nsec);
}
timespec to_timespec(uint64_t ns) {
    return {static_cast<time_t>(ns / kNsPerSecond), static_cast<long>(ns % kNsPerSecond)};
}

clock_t ticks(uint64_t us) {
    return static_cast<clock_t>(us * static_cast<uint64_t>(sysconf(_SC_CLK_TCK)) / 1'000'000);
}

// waitid tells in its siginfo which child it was, if it has ended.
struct WaitInfo { int32_t signal, error, code, pid, uid, status, reserved; };
bool has_ended(const WaitInfo& info) {
    return info.code == CLD_EXITED || info.code == CLD_KILLED || info.code == CLD_DUMPED;
}

}  // namespace

uint64_t Worker::restoring_ns(const CpuClock& clock) {
    auto p = guests_.process(clock.pid);
    return p ? p->cpu.restoring_ns : 0;
}

std::optional<uint64_t> Worker::used_here(const CpuClock& clock) {
    auto p = guests_.process(clock.pid);
    auto ns = read_cpu_clock(clock, restoring_ns(clock));
    if (ns && p && !clock.tid.value) *ns += p->cpu.earlier.total_us() * 1000;
    return ns;
}

// What a process uses between these is its stub's and its image's, not its program's.
void Worker::restoring_begins(Process& p) { p.cpu.restoring_since = read_cpu_clock({p.pid, HomeTid()}, 0).value_or(0); }
void Worker::restoring_ends(Process& p) {
    p.cpu.restoring_ns += read_cpu_clock({p.pid, HomeTid()}, 0).value_or(0) - p.cpu.restoring_since;
}

// The deputy uses CPU time when it makes calls. As long as it has made none, home's part is what it was.
bool Worker::knows_cpu_clock(Thread& t, const CallArgs& args, GuestAddr to) {
    auto& p = *t.process;
    auto clock = cpu_clock(static_cast<int32_t>(args[0]), p.pid, t.tid);
    bool known = clock && !clock->tid.value && clock->pid == p.pid && p.cpu.home_ns && p.cpu.home_at_call == p.cpu.calls
                 && p.lane.state != GuestLane::State::on && clock->counts == CpuClock::Counts::precise;
    auto here = known ? used_here(*clock) : std::nullopt;
    if (!here) return false;
    auto time = to_timespec(p.cpu.home_ns + *here);
    p.memory.through(t.tid);
    return p.memory.write(to, std::as_bytes(std::span(&time, 1))) == sizeof time;
}

// Home's answer is in the guest's memory; the node's part is added there.
void Worker::add_cpu_time(Thread& t, const GuestCall& call, int64_t result) {
    auto& p = *t.process;
    auto& memory = p.memory;
    auto own = [&](HomeTid tid) {
        bool leader = !tid.value || tid.value == p.pid.value;
        auto use = cpu_use(p.pid, tid, leader ? p.cpu.restoring_ns : 0, tid.value ? t.told_cpu_time : p.cpu.told);
        if (!tid.value) use.add(p.cpu.earlier);
        return use;
    };
    switch (call.nr) {
        case SYS_clock_gettime: return add_to_clock(t, call.args);
        case SYS_getrusage:
            return change_in<rusage>(memory, call.args[1], [&](rusage& r) {
                auto who = static_cast<int32_t>(call.args[0]);
                add_to(r, who == RUSAGE_CHILDREN ? p.cpu.children : own(who == RUSAGE_THREAD ? t.tid : HomeTid()));
            });
        case SYS_times:
            return change_in<tms>(memory, call.args[0], [&](tms& times) {
                auto use = own(HomeTid());
                times.tms_utime += ticks(use.user_us), times.tms_stime += ticks(use.system_us);
                times.tms_cutime += ticks(p.cpu.children.user_us), times.tms_cstime += ticks(p.cpu.children.system_us);
            });
        case SYS_wait4: {
            int status = 0;
            change_in<int>(memory, call.args[1], [&](int& s) { status = s; });
            if (WIFSTOPPED(status) || WIFCONTINUED(status)) return;
            return add_use_of_child(p, HomePid(static_cast<pid_t>(result)), call.args[3], true);
        }
        case SYS_waitid:
            return change_in<WaitInfo>(memory, call.args[2], [&](WaitInfo& info) {
                if (has_ended(info)) add_use_of_child(p, HomePid(info.pid), call.args[4], !(call.args[3] & WNOWAIT));
            });
        default: return;
    }
}

void Worker::add_to_clock(Thread& t, const CallArgs& args) {
    auto& p = *t.process;
    auto clock = cpu_clock(static_cast<int32_t>(args[0]), p.pid, t.tid);
    if (!clock) return;
    auto here = used_here(*clock);
    change_in<timespec>(p.memory, args[1], [&](timespec& time) {
        if (clock->pid == p.pid && !clock->tid.value) p.cpu.home_ns = to_ns(time), p.cpu.home_at_call = p.cpu.calls;
        if (here) time = to_timespec(to_ns(time) + *here);
    });
}

// A child that ended here has been waited for at home.
void Worker::add_use_of_child(Process& parent, HomePid child, uint64_t usage, bool reaped) {
    auto ended = ended_use_.find(child);
    if (ended == ended_use_.end()) return;
    auto use = ended->second.own;
    use.add(ended->second.children);
    change_in<rusage>(parent.memory, usage, [&](rusage& r) { add_to(r, use); });
    if (!reaped) return;
    parent.cpu.children.add(use);
    ended_use_.erase(ended);
}

void Worker::keep_use_of_ended(const Process& p, const rusage& usage) {
    auto use = cpu_use(usage);
    use.system_us -= std::min(use.system_us, p.cpu.restoring_ns / 1000);
    use.add(p.cpu.earlier);
    ended_use_[p.pid] = {use, p.cpu.children};
}

// A process that had come home is here again.
void Worker::take_up_earlier_use(Process& p) {
    auto earlier = ended_use_.extract(p.pid);
    if (earlier) p.cpu.earlier = earlier.mapped().own, p.cpu.children = earlier.mapped().children;
}

}  // namespace omx
