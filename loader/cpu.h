// What this CPU shows an unprivileged program (CPUID leaves 1, 7.0, 7.1, 0xd.0, 0xd.1, 0x80000001, 0x80000008, XCR0 …).
#pragma once
#include "protocol/frames.h"

namespace omx {

CpuFeatures cpu_features();
// Names of features that `node` has and `home` lacks, comma separated; empty: a guest of home may run there (item E).
std::string features_beyond(const CpuFeatures& node, const CpuFeatures& home);

}  // namespace omx
