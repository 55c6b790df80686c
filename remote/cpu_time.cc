#include "remote/cpu_time.h"
#include "loader/text_scan.h"
#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <time.h>
#include <unistd.h>

namespace omx {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;

// Bits of a clockid_t below zero: what it counts, whether of one thread; above them the complement of the number.
constexpr int32_t kCountsMask = 3, kOneThread = 4, kBehindDescriptor = 3;
clockid_t clock_of(HomePid pid, CpuClock::Counts counts) {
    return static_cast<clockid_t>(~static_cast<uint32_t>(pid.value) << 3 | static_cast<uint32_t>(counts));
}

std::string read_proc(HomePid pid, HomeTid tid, std::string_view file) {
    auto path = tid.value ? fmt::format("/proc/{}/task/{}/{}", pid.value, tid.value, file)
                          : fmt::format("/proc/{}/{}", pid.value, file);
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
}

struct Stat { uint64_t minor_faults = 0, major_faults = 0, user_ticks = 0, system_ticks = 0; };

Stat read_stat(HomePid pid, HomeTid tid) {
    auto text = read_proc(pid, tid, "stat");
    Stat stat;
    TextScan scan(std::string_view(text).substr(std::min(text.size(), text.rfind(')') + 1)));
    for (int field = 3; field <= 15 && scan.skip(' '); field++) {      // numbers as in proc_pid_stat(5)
        auto word = TextScan(scan.word());
        if (field == 10) word.decimal(stat.minor_faults);
        if (field == 12) word.decimal(stat.major_faults);
        if (field == 14) word.decimal(stat.user_ticks);
        if (field == 15) word.decimal(stat.system_ticks);
    }
    return stat;
}

int64_t max_rss_kib(HomePid pid) {
    auto text = read_proc(pid, HomeTid(), "status");
    constexpr std::string_view name = "VmHWM:";
    auto at = text.find(name);
    return at == text.npos ? 0 : strtoll(text.c_str() + at + name.size(), nullptr, 10);
}

uint64_t ticks_to_ns(uint64_t ticks) { return ticks * (kNsPerSecond / static_cast<uint64_t>(sysconf(_SC_CLK_TCK))); }

std::optional<uint64_t> read_thread_clock(const CpuClock& clock) {
    if (clock.counts != CpuClock::Counts::precise) {
        auto stat = read_stat(clock.pid, clock.tid);
        bool user_only = clock.counts == CpuClock::Counts::user;
        return ticks_to_ns(stat.user_ticks + (user_only ? 0 : stat.system_ticks));
    }
    // Another process's thread has no clock for us; here is what the scheduler has counted for it.
    uint64_t ns = 0;
    if (!TextScan(read_proc(clock.pid, clock.tid, "schedstat")).decimal(ns)) return std::nullopt;
    return ns;
}

timeval to_timeval(const timeval& t, uint64_t more_us) {
    auto us = static_cast<uint64_t>(t.tv_sec) * 1'000'000 + static_cast<uint64_t>(t.tv_usec) + more_us;
    return {static_cast<time_t>(us / 1'000'000), static_cast<suseconds_t>(us % 1'000'000)};
}
uint64_t to_us(const timeval& t) {
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000 + static_cast<uint64_t>(t.tv_usec);
}

}  // namespace

void CpuUse::add(const CpuUse& other) {
    user_us += other.user_us, system_us += other.system_us;
    minor_faults += other.minor_faults, major_faults += other.major_faults;
    max_rss_kib = std::max(max_rss_kib, other.max_rss_kib);
}

CpuUse cpu_use(const rusage& r) {
    return {.user_us = to_us(r.ru_utime), .system_us = to_us(r.ru_stime), .max_rss_kib = r.ru_maxrss,
            .minor_faults = r.ru_minflt, .major_faults = r.ru_majflt};
}

void add_to(rusage& r, const CpuUse& use) {
    r.ru_utime = to_timeval(r.ru_utime, use.user_us);
    r.ru_stime = to_timeval(r.ru_stime, use.system_us);
    r.ru_maxrss = std::max(r.ru_maxrss, use.max_rss_kib);
    r.ru_minflt += use.minor_faults;
    r.ru_majflt += use.major_faults;
}

std::optional<CpuClock> cpu_clock(int32_t id, HomePid caller, HomeTid calling_thread) {
    if (id == CLOCK_PROCESS_CPUTIME_ID) return CpuClock{.pid = caller, .tid = HomeTid()};
    if (id == CLOCK_THREAD_CPUTIME_ID) return CpuClock{.pid = caller, .tid = calling_thread};
    if (id >= 0 || (id & kCountsMask) == kBehindDescriptor) return std::nullopt;
    int32_t number = ~(id >> 3);
    auto counts = static_cast<CpuClock::Counts>(id & kCountsMask);
    if (id & kOneThread) return CpuClock{caller, number ? HomeTid(number) : calling_thread, counts};
    return CpuClock{number ? HomePid(number) : caller, HomeTid(), counts};
}

std::optional<uint64_t> read_cpu_clock(const CpuClock& clock, uint64_t restoring_ns) {
    uint64_t ns = 0;
    if (clock.tid.value) {
        auto read = read_thread_clock(clock);
        if (!read) return std::nullopt;
        ns = *read;
        if (clock.tid.value != clock.pid.value) return ns;             // only the leader has been restored
    } else {
        timespec t;
        if (clock_gettime(clock_of(clock.pid, clock.counts), &t) < 0) return std::nullopt;
        ns = static_cast<uint64_t>(t.tv_sec) * kNsPerSecond + static_cast<uint64_t>(t.tv_nsec);
    }
    return ns - std::min(ns, restoring_ns);
}

CpuUse cpu_use(HomePid pid, HomeTid tid, uint64_t restoring_ns, ToldCpuTime& told) {
    auto stat = read_stat(pid, tid);
    uint64_t total_us = read_cpu_clock({pid, tid}, restoring_ns).value_or(0) / 1000;
    uint64_t ticks = stat.user_ticks + stat.system_ticks;
    uint64_t system_us = ticks ? total_us * stat.system_ticks / ticks : 0;
    // As cputime_adjust() in the kernel does.
    if (told.user_us + told.system_us < total_us) {
        system_us = std::max(system_us, told.system_us);
        uint64_t user_us = std::max(total_us - std::min(system_us, total_us), told.user_us);
        told = {user_us, total_us - user_us};
    }
    return {.user_us = told.user_us, .system_us = told.system_us, .max_rss_kib = max_rss_kib(pid),
            .minor_faults = static_cast<int64_t>(stat.minor_faults),
            .major_faults = static_cast<int64_t>(stat.major_faults)};
}

}  // namespace omx
