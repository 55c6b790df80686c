// What this machine's kernel says of its CPUs and of how it schedules a thread.
#pragma once
#include "protocol/result.h"
#include "protocol/scheduling.h"
#include "protocol/types.h"
#include <optional>
#include <string_view>

namespace omx {

// By the number that it has in our pid namespace; 0: the calling thread.
Result<Scheduling> scheduling_of(HomeTid);

// The calling thread works for microseconds at a time, and others wait for it: it asks for short turns (Linux 6.12), for
// which the kernel lets it run soon after it wakes, though somebody computes on its CPU. That is no greater share, and takes no
// right. Its children have ordinary turns. Without effect on kernels that don't know of it.
void ask_for_short_turns();

// What numbers a program can meet here: of CPUs (greatest one + 1), of memory nodes.
struct CpuNumbers {
    uint32_t cpus = 0, memory_nodes = 0;
};
CpuNumbers cpu_numbers();
// The CPUs of each memory node, by number; empty where the kernel tells nothing.
std::vector<CpuSet> cpus_of_memory_nodes();

// "0-3,8", as /sys writes sets of CPUs; nullopt: it isn't.
std::optional<CpuSet> parse_cpu_list(std::string_view text);

}  // namespace omx
