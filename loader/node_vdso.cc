#include "loader/node_vdso.h"
#include "loader/capture.h"
#include "loader/vdso_symbols.h"
#include <fstream>
#include <sstream>
#include <sys/auxv.h>

namespace omx {
namespace {

bool is_piece(const MapsEntry& e) { return e.path.starts_with("[vvar") || e.path == "[vdso]"; }

// Pieces with gaps between would need a plan of their own; no kernel has them so.
void find_pieces(const std::vector<MapsEntry>& maps, uint64_t start, NodeVdso& vdso) {
    uint64_t end = 0;
    for (const auto& e : maps) {
        if (!is_piece(e)) continue;
        bool joins = vdso.pieces.empty() || e.start == end;
        if (!joins || vdso.pieces.size() == OMX_VDSO_PIECES) return vdso.pieces.clear();
        vdso.pieces.push_back({static_cast<int64_t>(e.start - start), e.end - e.start});
        end = e.end;
    }
    for (const auto& p : vdso.pieces) vdso.bytes += p.bytes;
}

NodeVdso look_up() {
    NodeVdso vdso;
    View object = own_vdso();
    if (object.empty()) return vdso;
    std::ostringstream text;
    text << std::ifstream("/proc/self/maps").rdbuf();
    auto maps = parse_maps(text.str());
    if (maps) find_pieces(*maps, ::getauxval(AT_SYSINFO_EHDR), vdso);
    if (vdso.pieces.empty()) return vdso;
    auto function = [&](std::string_view name) { return vdso_symbol(object, name).value_or(0); };
    vdso.functions = {.clock_gettime = function("__vdso_clock_gettime"),
                      .gettimeofday = function("__vdso_gettimeofday"),
                      .time = function("__vdso_time"), .clock_getres = function("__vdso_clock_getres"),
                      .getcpu = function("__vdso_getcpu"), .page = 0};
    return vdso;
}

}  // namespace

const NodeVdso& node_vdso() {
    static const NodeVdso vdso = look_up();
    return vdso;
}

}  // namespace omx
