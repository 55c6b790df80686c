#include "remote/scheduling.h"
#include "remote/debug.h"
#include <algorithm>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace omx {
namespace {

bool realtime(uint32_t policy) { return policy == SCHED_FIFO || policy == SCHED_RR; }

// Of the classes that share the CPU fairly. Deadlines and what we don't know are not for guests.
int weakness(uint32_t policy) { return policy == SCHED_IDLE ? 2 : policy == SCHED_BATCH ? 1 : 0; }
constexpr uint32_t kByWeakness[] = {SCHED_OTHER, SCHED_BATCH, SCHED_IDLE};

bool set_policy(HomeTid tid, const Scheduling& s) {
    sched_param param{.sched_priority = static_cast<int>(s.priority)};
    auto reset = s.reset_on_fork ? SCHED_RESET_ON_FORK : 0;
    return syscall(SYS_sched_setscheduler, tid.value, static_cast<int>(s.policy) | reset, &param) == 0;
}

}  // namespace

Result<SchedulingHere> SchedulingHere::of_this_node(bool all_cpus) {
    auto own = scheduling_of(HomeTid());
    if (!own) return std::unexpected(own.error());
    return SchedulingHere(std::move(*own), cpus_of_memory_nodes(), all_cpus);
}

Status SchedulingHere::keep_within(const CpuNumbers& homes) {
    homes_ = CpuSet::below(homes.cpus);
    if (all_cpus_) return {};
    usable_ = own_.cpus & homes_;
    for (size_t node = homes.memory_nodes; node < memory_nodes_.size(); node++) usable_ = usable_ - memory_nodes_[node];
    if (!usable_.empty()) return {};
    return fail(fmt::format("home has CPU numbers up to {}, and this node may use none of these: a guest that counts "
                            "by CPU would be wrong (omxsup node --all-cpus takes it nevertheless)",
                            std::max(1u, homes.cpus) - 1));
}

Scheduling SchedulingHere::wanted(const Scheduling& at_home) const {
    Scheduling s = at_home;
    if (!realtime(s.policy)) {
        s.policy = kByWeakness[std::max(weakness(at_home.policy), weakness(own_.policy))];
        s.priority = 0;
    }
    s.nice = std::max(at_home.nice, own_.nice);
    auto common = usable_ & at_home.cpus;
    bool chosen = !all_cpus_ || !at_home.cpus.contains_all(homes_);
    s.cpus = chosen && !common.empty() ? common : usable_;
    return s;
}

// One after the other: what this kernel doesn't allow stays as it is, the rest is done.
void SchedulingHere::apply(HomeTid tid, const Scheduling& at_home) const {
    auto now = scheduling_of(tid);
    if (!now) return;                                    // it has ended
    auto s = wanted(at_home);
    if (std::tie(s.policy, s.priority, s.reset_on_fork) != std::tie(now->policy, now->priority, now->reset_on_fork) &&
        !set_policy(tid, s) && realtime(s.policy)) {
        s.policy = kByWeakness[weakness(own_.policy)], s.priority = 0;
        set_policy(tid, s);
    }
    if (s.nice != now->nice) syscall(SYS_setpriority, PRIO_PROCESS, tid.value, s.nice);
    if (s.cpus != now->cpus)
        syscall(SYS_sched_setaffinity, tid.value, s.cpus.words().size() * sizeof(uint64_t), s.cpus.words().data());
    OMX_DEBUG("{}: class {}, nice {}, {} words of CPUs", tid.value, s.policy, s.nice, s.cpus.words().size());
}

void allow_own_priority() {
    rlimit limit{};
    long own = syscall(SYS_getpriority, PRIO_PROCESS, 0);          // 20 - nice, as the limit has it
    if (own < 0 || getrlimit(RLIMIT_NICE, &limit) < 0 || limit.rlim_cur >= static_cast<rlim_t>(own)) return;
    rlimit more{static_cast<rlim_t>(own), std::max(limit.rlim_max, static_cast<rlim_t>(own))};
    if (setrlimit(RLIMIT_NICE, &more) == 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NICE, &limit);
}

}  // namespace omx
