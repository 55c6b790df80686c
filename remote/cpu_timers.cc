// Timers on CPU clocks. The kernel offers none that another process may set for a thread, and one that a guest would
// set itself would signal it past home, where sigwait, signalfd and pending sets are. So the worker reads the clocks:
// n threads can't use more than n seconds in one, so that it need not look again before what is left of a timer,
// divided by n, has passed. When a timer has run out home raises the signal, in the deputy.
#include "remote/debug.h"
#include "remote/worker.h"
#include <algorithm>
#include <cstring>
#include <sys/syscall.h>
#include <sys/time.h>
#include <thread>

namespace omx {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;
constexpr uint64_t kSoonestNs = 1'000'000, kLatestIdleNs = 20'000'000;
constexpr int kMaxOverrun = std::numeric_limits<int>::max();

uint64_t to_ns(const timespec& t) {
    constexpr uint64_t most = std::numeric_limits<int64_t>::max();
    auto seconds = static_cast<uint64_t>(t.tv_sec);
    return seconds >= most / kNsPerSecond ? most : seconds * kNsPerSecond + static_cast<uint64_t>(t.tv_nsec);
}
timespec to_timespec(uint64_t ns) {
    return {static_cast<time_t>(ns / kNsPerSecond), static_cast<long>(ns % kNsPerSecond)};
}
bool valid(const timespec& t) {
    return t.tv_sec >= 0 && t.tv_nsec >= 0 && static_cast<uint64_t>(t.tv_nsec) < kNsPerSecond;
}

itimerval to_itimerval(const itimerspec& t) {                       // what is left is never nothing
    auto timeval_of = [](const timespec& s) {
        auto us = (to_ns(s) + 999) / 1000;
        return timeval{static_cast<time_t>(us / 1'000'000), static_cast<suseconds_t>(us % 1'000'000)};
    };
    return {timeval_of(t.it_interval), timeval_of(t.it_value)};
}
itimerspec to_itimerspec(const itimerval& t) {
    // Too many microseconds are too many nanoseconds.
    auto timespec_of = [](const timeval& v) {
        bool valid = v.tv_usec >= 0 && v.tv_usec < 1'000'000;
        return timespec{v.tv_sec, valid ? v.tv_usec * 1000 : -1};
    };
    return {timespec_of(t.it_interval), timespec_of(t.it_value)};
}

template <class T> bool read_from(GuestMemory& memory, uint64_t at, T& value) {
    return memory.read(GuestAddr(at), std::as_writable_bytes(std::span(&value, 1))) == sizeof value;
}
template <class T> bool write_to(GuestMemory& memory, uint64_t at, const T& value) {
    return memory.write(GuestAddr(at), std::as_bytes(std::span(&value, 1))) == sizeof value;
}

itimerspec time_left(const CpuTimer& timer, uint64_t now_ns) {
    uint64_t left = !timer.expires_ns ? 0 : *timer.expires_ns > now_ns ? *timer.expires_ns - now_ns : 1;
    return {to_timespec(timer.interval_ns), to_timespec(left)};
}

// SI_TIMER's own fields have no names in siginfo_t for all of them.
siginfo_t timer_signal(int32_t id, const CpuTimer& timer) {
    siginfo_t info{};
    info.si_signo = timer.notify.sigev_signo;
    info.si_code = SI_TIMER;
    info.si_timerid = id;
    info.si_overrun = timer.overrun;
    info.si_value = timer.notify.sigev_value;
    return info;
}

}  // namespace

void as_the_kernels(siginfo_t& info) {
    if (info.si_code != SI_TIMER || info.si_timerid >= 0) return;
    int signal = info.si_signo;
    info = {};
    info.si_signo = signal;
    info.si_code = SI_KERNEL;
}

namespace {
// Or on its way, with its timers.
bool is_home(const GuestProcess& p) { return p.homing && p.homing->step >= Homing::Step::captured; }
}  // namespace

// Home has made it: from now on it is looked after here, if what it measures is here.
void Worker::keep_cpu_timer(Thread& t, const CallArgs& args) {
    auto& p = *t.process;
    int32_t id = 0;
    auto clock = cpu_clock(static_cast<int32_t>(args[0]), p.pid, t.tid);
    if (!clock || !guests_.process(clock->pid) || !read_from(p.memory, args[2], id)) return;
    CpuTimer timer{.clock = *clock, .notify = {}, .thread = HomeTid()};
    timer.notify.sigev_notify = SIGEV_SIGNAL;
    timer.notify.sigev_signo = SIGALRM;
    timer.notify.sigev_value.sival_int = id;
    if (args[1] && !read_from(p.memory, args[1], timer.notify)) return;
    if (timer.notify.sigev_notify & SIGEV_THREAD_ID) timer.thread = HomeTid(timer.notify._sigev_un._tid);
    OMX_DEBUG("{}: has CPU timer {}", p.pid.value, id);
    p.cpu_timers.insert_or_assign(id, timer);
}

// A timer's signals that come faster than they are taken merge, some at home and some here (on_signal): what the last one
// that was taken has stood for is what its timer says. One that the guest has waited for was taken at home; so is one that
// it reads from a signalfd, whose signals are blocked.
void Worker::note_overrun(Process& p, const siginfo_t& taken) {
    auto it = taken.si_code == SI_TIMER ? p.overruns.find(taken.si_timerid) : p.overruns.end();
    if (it != p.overruns.end()) it->second = taken.si_overrun;
}

void Worker::note_timer_call(Thread& t, uint32_t nr, const CallArgs& args) {
    auto& p = *t.process;
    siginfo_t taken{};
    int32_t id = 0;
    switch (nr) {
        case SYS_timer_create:
            if (read_from(p.memory, args[2], id)) p.overruns[id].reset();
            return keep_cpu_timer(t, args);
        case SYS_timer_settime:
            p.overruns[static_cast<int32_t>(args[0])].reset();
            return;
        case SYS_timer_delete:
            p.overruns.erase(static_cast<int32_t>(args[0]));
            p.cpu_timers.erase(static_cast<int32_t>(args[0]));
            return;
        case SYS_rt_sigtimedwait:
            if (!args[1] || !read_from(p.memory, args[1], taken)) break;
            note_overrun(p, taken);
            as_the_kernels(taken);
            write_to(p.memory, args[1], taken);
            return;
        default: break;
    }
    for (auto& [timer, overrun] : p.overruns) overrun.reset();
}

// timer_settime and the like, of timers that are kept here. nullopt: it isn't.
std::optional<int64_t> Worker::cpu_timer_call(Thread& t, uint32_t nr, const CallArgs& args) {
    if (nr == SYS_getitimer || nr == SYS_setitimer) return interval_timer_call(t, nr, args);
    auto& timers = t.process->cpu_timers;
    auto known = t.process->overruns.find(static_cast<int32_t>(args[0]));
    if (nr == SYS_timer_getoverrun && known != t.process->overruns.end() && known->second) return *known->second;
    auto it = timers.find(static_cast<int32_t>(args[0]));
    if (it == timers.end()) return std::nullopt;
    auto& timer = it->second;
    auto& memory = t.process->memory;
    memory.through(t.tid);
    auto now_ns = read_cpu_clock(timer.clock, restoring_ns(timer.clock)).value_or(0);
    switch (nr) {
        case SYS_timer_settime: return set_cpu_timer(t, timer, args, now_ns);
        case SYS_timer_gettime: return write_to(memory, args[1], time_left(timer, now_ns)) ? 0 : -EFAULT;
        case SYS_timer_getoverrun: return timer.overrun;
        default: return std::nullopt;
    }
}

int64_t Worker::set_cpu_timer(Thread& t, CpuTimer& timer, const CallArgs& args, uint64_t now_ns) {
    auto& p = *t.process;
    itimerspec wanted{};
    if (!args[2]) return -EINVAL;
    if (!read_from(p.memory, args[2], wanted)) return -EFAULT;
    if (!valid(wanted.it_value) || !valid(wanted.it_interval)) return -EINVAL;
    auto before = time_left(timer, now_ns);
    note_timer_call(t, SYS_timer_settime, args);
    // On the clock that the guest reads, of which home has used its part.
    uint64_t home = timer.clock.tid.value ? 0 : p.cpu.home_ns + p.cpu.earlier.total_us() * 1000;
    start_cpu_timer(timer, wanted, now_ns, args[1] & TIMER_ABSTIME ? std::optional(home) : std::nullopt);
    return !args[3] || write_to(p.memory, args[3], before) ? 0 : -EFAULT;
}

// `since`: the wanted moment is one of the guest's clock, which shows that much more than ours.
void Worker::start_cpu_timer(CpuTimer& timer, const itimerspec& wanted, uint64_t now_ns, std::optional<uint64_t> since) {
    uint64_t value = to_ns(wanted.it_value);
    timer.expires_ns.reset();
    timer.interval_ns = to_ns(wanted.it_interval);
    timer.overrun = 0, timer.idle_looks = 0, timer.seen_ns = now_ns;
    if (!value) return;
    timer.expires_ns = since ? value - std::min(value, *since) : now_ns + value;
    look_at_cpu_timers();
}

// setitimer and getitimer of ITIMER_VIRTUAL or ITIMER_PROF.
int64_t Worker::interval_timer_call(Thread& t, uint32_t nr, const CallArgs& args) {
    auto& p = *t.process;
    p.memory.through(t.tid);
    auto which = static_cast<int32_t>(args[0]);
    bool of_user = which == ITIMER_VIRTUAL;
    auto& timer = p.cpu_timers[interval_timer(which)];
    timer.clock = {p.pid, HomeTid(), of_user ? CpuClock::Counts::user : CpuClock::Counts::user_and_system};
    timer.notify.sigev_notify = SIGEV_SIGNAL;
    timer.notify.sigev_signo = of_user ? SIGVTALRM : SIGPROF;
    auto now_ns = read_cpu_clock(timer.clock, restoring_ns(timer.clock)).value_or(0);
    auto before = to_itimerval(time_left(timer, now_ns));
    if (nr == SYS_getitimer) return write_to(p.memory, args[1], before) ? 0 : -EFAULT;
    itimerval wanted{};                                            // without an address: never, as of old
    if (args[1] && !read_from(p.memory, args[1], wanted)) return -EFAULT;
    auto when = to_itimerspec(wanted);
    if (!valid(when.it_value) || !valid(when.it_interval)) return -EINVAL;
    start_cpu_timer(timer, when, now_ns, std::nullopt);
    return !args[2] || write_to(p.memory, args[2], before) ? 0 : -EFAULT;
}

// How long until the timer may have run out; nullopt: not before it is set again.
std::optional<uint64_t> Worker::look_at(Process& p, int32_t id, CpuTimer& timer) {
    if (!timer.expires_ns || is_home(p)) return std::nullopt;
    auto now = read_cpu_clock(timer.clock, restoring_ns(timer.clock));
    if (!now) {                                                    // who used the time has ended
        timer.expires_ns.reset();
        return std::nullopt;
    }
    timer.idle_looks = *now == timer.seen_ns ? timer.idle_looks + 1 : 0;
    timer.seen_ns = *now;
    if (*now >= *timer.expires_ns) {
        uint64_t missed = timer.interval_ns ? (*now - *timer.expires_ns) / timer.interval_ns : 0;
        timer.overrun = static_cast<int>(std::min<uint64_t>(missed, kMaxOverrun));
        if (timer.notify.sigev_notify != SIGEV_NONE)
            link_.send(FrameType::raise, 0, SignalFrame{p.pid, timer.thread, timer_signal(id, timer)});
        OMX_DEBUG("{}: CPU timer {} has run out", p.pid.value, id);
        if (timer.interval_ns) *timer.expires_ns += (missed + 1) * timer.interval_ns;
        else timer.expires_ns.reset();
        if (!timer.expires_ns) return std::nullopt;
    }
    auto owner = guests_.process(timer.clock.pid);
    uint64_t threads = timer.clock.tid.value || !owner ? 1 : owner->threads.size();
    threads = std::clamp<uint64_t>(threads, 1, std::max(1u, std::thread::hardware_concurrency()));
    uint64_t idle = std::min(kSoonestNs << std::min(timer.idle_looks, 10u), kLatestIdleNs);
    return std::max({(*timer.expires_ns - *now) / threads, idle, kSoonestNs});
}

// Those that are set, and what is left of a limit, which counts from another beginning at home.
void Worker::collect_cpu_timers(Process& p, Image& image) {
    using Kind = CpuTimerState::Kind;
    for (auto& [id, timer] : p.cpu_timers) {
        if (!timer.expires_ns || timer.notify.sigev_notify == SIGEV_NONE) continue;
        auto left = to_ns(time_left(timer, read_cpu_clock(timer.clock, restoring_ns(timer.clock)).value_or(0)).it_value);
        if (id >= 0) image.cpu_timers.push_back({Kind::posix, id, left, timer.interval_ns});
        else image.cpu_timers.push_back({Kind::interval, interval_timer(id), left, timer.interval_ns});
    }
    rlimit limit{};
    auto used = read_cpu_clock({p.pid, HomeTid()}, 0);
    if (!used || prlimit(p.pid.value, RLIMIT_CPU, nullptr, &limit) < 0) return;
    auto left_of = [&](rlim_t seconds) {
        auto end = to_ns({static_cast<time_t>(std::min<rlim_t>(seconds, std::numeric_limits<time_t>::max())), 0});
        return end > *used ? end - *used : 1;
    };
    if (limit.rlim_cur != RLIM_INFINITY)                 // its signal comes again each second
        image.cpu_timers.push_back({Kind::limit, SIGXCPU, left_of(limit.rlim_cur), kNsPerSecond});
    if (limit.rlim_max != RLIM_INFINITY) image.cpu_timers.push_back({Kind::limit, SIGKILL, left_of(limit.rlim_max), 0});
}

void Worker::look_at_cpu_timers() {
    uint64_t next = UINT64_MAX;
    for (auto& [pid, p] : guests_.processes())
        for (auto& [id, timer] : p->cpu_timers)
            if (auto left = look_at(*p, id, timer)) next = std::min(next, *left);
    if (next == UINT64_MAX) return;
    cpu_look_.ring_in(std::chrono::nanoseconds(next));
}

}  // namespace omx
