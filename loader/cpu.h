// What this CPU shows an unprivileged program (CPUID leaves 1, 7.0, 7.1, 0xd.0, 0xd.1, 0x80000001, 0x80000008, XCR0 …).
// Only what a program can use by itself and would miss after a move is kept: no topology, no cache sizes, no features
// for kernels or hypervisors, no mere speed (erms, fsrm). Two CPUs of one model are always equal, and so are all cores.
#pragma once
#include "protocol/frames.h"

namespace omx {

CpuFeatures cpu_features();
// Names of features that `node` has and `home` lacks, comma separated; empty: a guest of home may run there (item E).
// Names as in /proc/cpuinfo; a bit without a name as leaf7.1.eax.bit9. A part of the XSAVE area that both have in
// different places counts as well: its contents could not be carried back.
std::string features_beyond(const CpuFeatures& node, const CpuFeatures& home);

// Tests only: another CPU's description, from words like +avx512f and -avx2. Names as above.
Status change_features(CpuFeatures&, std::string_view words);

}  // namespace omx
