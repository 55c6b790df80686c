// How much of home's memory, processes and descriptors a node may take up by what it asks for. A guest's own limits are
// home's kernel's business; these are for a node that is broken or hostile: the job ends. One frame has its own limit,
// kMaxFrameBytes, beyond which the link is given up.
#pragma once
#include <cstdint>

namespace omx {

struct JobLimits {
    uint64_t deputies = 16384;               // processes and threads of the job at once
    uint64_t files = 4096;                   // files named to the node and not yet done with; pieces of them asked for
    uint64_t queue_bytes = 1ull << 30;       // answers that the node doesn't take; calls that can't be begun yet
};

}  // namespace omx
