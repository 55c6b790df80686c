// This kernel's vDSO as every process here has it: the same pieces at the same distances, the same functions in it.
#pragma once
#include "loader/stub/plan.h"
#include <vector>

namespace omx {

struct NodeVdso {
    std::vector<omx_vdso_piece> pieces;     // ascending and without gaps; empty: no vDSO that we could move
    uint64_t bytes = 0;                     // of all pieces
    omx_clock functions{};                  // offsets from the vDSO's start, 0 for what it doesn't have
};
// Looked up once: it never changes while the kernel runs.
const NodeVdso& node_vdso();

}  // namespace omx
