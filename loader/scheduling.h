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
