#include "loader/scheduling.h"
#include <algorithm>
#include <fstream>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "loader/text_scan.h"

namespace omx {
namespace {

constexpr size_t kMostMemoryNodes = 1024;

std::optional<CpuSet> listed(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    if (!std::getline(file, line)) return std::nullopt;
    return parse_cpu_list(line);
}

// One more than the greatest; 0: it is empty.
uint32_t end_of(const CpuSet& set) {
    auto& words = set.words();
    if (words.empty()) return 0;
    return static_cast<uint32_t>(words.size() * 64) - static_cast<uint32_t>(std::countl_zero(words.back()));
}

}  // namespace

void ask_for_short_turns() {
    // struct sched_attr (sched_setattr(2)) up to what every kernel since 3.14 knows.
    struct {
        uint32_t size = 48, policy = SCHED_OTHER;
        uint64_t flags = 1;                                          // SCHED_FLAG_RESET_ON_FORK
        int32_t nice = 0;
        uint32_t priority = 0;
        uint64_t turn_ns = 100'000, deadline = 0, period = 0;        // the shortest turn there is
    } wanted;
    if (sched_getscheduler(0) != SCHED_OTHER) return;
    errno = 0;
    wanted.nice = getpriority(PRIO_PROCESS, 0);
    if (errno || wanted.nice < 0) return;                            // which its children would lose
    syscall(SYS_sched_setattr, 0, &wanted, 0);
}

std::optional<CpuSet> parse_cpu_list(std::string_view text) {
    TextScan in(text);
    CpuSet set;
    do {
        uint64_t first = 0;
        if (!in.decimal(first)) return std::nullopt;
        uint64_t last = first;
        if (in.skip('-') && !in.decimal(last)) return std::nullopt;
        if (first > last || last >= CpuSet::kMostCpus) return std::nullopt;
        for (uint64_t cpu = first; cpu <= last; cpu++) set.add(cpu);
    } while (in.skip(','));
    while (in.skip('\n')) {}
    return in.rest().empty() ? std::optional(set) : std::nullopt;
}

// By the calls that are old enough for everybody's headers: sched_getattr has no nice value of a realtime thread.
Result<Scheduling> scheduling_of(HomeTid tid) {
    Scheduling s;
    std::vector<uint64_t> words(CpuSet::kMostCpus / 64);
    sched_param param{};
    long policy = syscall(SYS_sched_getscheduler, tid.value);
    long nice = syscall(SYS_getpriority, PRIO_PROCESS, tid.value);                  // 20 - nice
    long bytes = syscall(SYS_sched_getaffinity, tid.value, CpuSet::kMostCpus / 8, words.data());
    if (policy < 0 || nice < 0 || bytes < 0 || syscall(SYS_sched_getparam, tid.value, &param) < 0)
        return fail_errno(fmt::format("how thread {} is scheduled", tid.value));
    s.reset_on_fork = policy & SCHED_RESET_ON_FORK;
    s.policy = static_cast<uint32_t>(policy & ~SCHED_RESET_ON_FORK);
    s.nice = 20 - static_cast<int32_t>(nice);
    s.priority = static_cast<uint32_t>(param.sched_priority);
    s.cpus = CpuSet::of(std::move(words));
    return s;
}

// Online ones: programs size their tables by these, or by what is possible, which isn't less.
CpuNumbers cpu_numbers() {
    auto online = listed("/sys/devices/system/cpu/online");
    auto nodes = listed("/sys/devices/system/node/online");
    CpuNumbers n;
    n.cpus = online ? end_of(*online) : static_cast<uint32_t>(std::max(1l, sysconf(_SC_NPROCESSORS_CONF)));
    n.memory_nodes = nodes ? std::max(1u, end_of(*nodes)) : 1;
    return n;
}

std::vector<CpuSet> cpus_of_memory_nodes() {
    std::vector<CpuSet> sets;
    auto count = std::min<size_t>(cpu_numbers().memory_nodes, kMostMemoryNodes);
    for (size_t node = 0; node < count; node++)
        sets.push_back(
            listed(fmt::format("/sys/devices/system/node/node{}/cpulist", node)).value_or(CpuSet()));
    return sets;
}

}  // namespace omx
