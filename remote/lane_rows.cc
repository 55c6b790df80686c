#include "remote/lane_rows.h"
#include "protocol/result.h"
#include "protocol/table.h"
#include <algorithm>
#include <sys/syscall.h>

namespace omx {
namespace {

// Only calls that home's reply finishes: no mask of their own, no time-out, nothing for the node's kernel or the worker
// to do besides. The commonest of them; their memory is flat, or the island could not read their rows.
constexpr uint32_t kCalls[] = {
    SYS_read, SYS_write, SYS_open, SYS_close, SYS_stat, SYS_fstat, SYS_lstat, SYS_lseek, SYS_pread64, SYS_pwrite64,
    SYS_access, SYS_getdents64, SYS_openat, SYS_newfstatat, SYS_readlink, SYS_readlinkat, SYS_faccessat, SYS_faccessat2,
    SYS_unlink, SYS_unlinkat, SYS_getppid, SYS_geteuid, SYS_getuid,
};
static_assert(std::size(kCalls) <= OMX_LANE_ROWS);

omx_lane_row boiled_down(const Row& row) {
    omx_lane_row r{};
    OMX_CHECK(row.place == Place::forward && !row.subtable && !row.judge, "a call that may use lanes");
    for (size_t i = 0; i < row.args.size(); i++) {
        const Arg& a = row.args[i];
        r.length_of[i] = 6;
        if (!a.has_memory()) continue;
        if (a.shape == Shape::text) {
            r.kind[i] = OMX_ARG_TEXT;
            continue;
        }
        bool by_argument = a.size.rule == SizeRule::times && a.size.unit == 1 && a.size.base == 0;
        OMX_CHECK(a.shape == Shape::buffer && (by_argument || a.size.rule == SizeRule::fixed), "a lane's argument");
        OMX_CHECK(a.size.cap >= OMX_LANE_SMALL, "a lane's argument");
        OMX_CHECK(a.direction == Direction::in || a.direction == Direction::out, "a lane's argument");
        r.kind[i] = a.direction == Direction::in ? OMX_ARG_IN : OMX_ARG_OUT;
        if (by_argument) r.length_of[i] = a.size.argument, r.width[i] = a.size.width;
        else r.bytes[i] = static_cast<uint16_t>(a.size.base);
        r.cap[i] = a.size.cap;
    }
    return r;
}

}  // namespace

bool may_use_lane(uint32_t nr) { return std::ranges::find(kCalls, nr) != std::end(kCalls); }

void fill_lane_rows(omx_lane& lane, bool without_close) {
    static const auto rows = [] {
        std::array<omx_lane_row, std::size(kCalls)> made{};
        std::ranges::transform(kCalls, made.begin(), [](uint32_t nr) { return boiled_down(*find_row(nr)); });
        return made;
    }();
    std::ranges::copy(rows, lane.rows);
    std::ranges::fill(lane.row_of, uint8_t{0});
    for (size_t i = 0; i < rows.size(); i++)
        if (!(without_close && kCalls[i] == SYS_close)) lane.row_of[kCalls[i]] = static_cast<uint8_t>(i + 1);
}

}  // namespace omx
