// What of home's scheduling this node follows: a guest runs no better than home has it run, and no better than the node
// itself runs; and only on CPUs whose numbers home has, too (F31).
#pragma once
#include "loader/scheduling.h"

namespace omx {

class SchedulingHere {
public:
    // Asks this kernel. Before the old root goes: /sys is in it.
    static Result<SchedulingHere> of_this_node(bool all_cpus);
    SchedulingHere(Scheduling own, std::vector<CpuSet> memory_nodes, bool all_cpus)
        : own_(std::move(own)), memory_nodes_(std::move(memory_nodes)), all_cpus_(all_cpus), usable_(own_.cpus) {}

    // Only CPUs that home could have are used from now on. Refuses if none is left.
    Status keep_within(const CpuNumbers& homes);
    Scheduling wanted(const Scheduling& at_home) const;
    void apply(HomeTid, const Scheduling& at_home) const;

private:
    Scheduling own_;
    std::vector<CpuSet> memory_nodes_;
    bool all_cpus_;
    CpuSet usable_;
    CpuSet homes_;
};

// The kernel lets nobody raise a process's priority, not even back to what it was, but within RLIMIT_NICE. So that a
// guest may have back what the node itself has; where the limit can't be raised it stays lowered. Before privileges go.
void allow_own_priority();

}  // namespace omx
