// A guest can be stopped at any instruction of its island. What it then means, by its registers and its lane.
#pragma once
#include "loader/island/island.h"
#include <optional>
#include <sys/user.h>

namespace omx {

enum class IslandMove {
    none,        // not there, or where the island plays no part any more
    roll_back,   // the call has not left: the guest stands before it again
    wait,        // it has: nothing may come between it and its answer
    finish,      // it is answered: the guest stands behind it
};

const char* name(IslandMove);

// `lane` is needed when the thread is in_island().
bool in_island(const user_regs_struct&);
unsigned stub_index(const user_regs_struct&, const omx_lane&);       // of the site the call came from
IslandMove island_move(const user_regs_struct&, const omx_lane&);

// The registers with which the guest stands before its call: at the site, where a signal may be delivered as natively.
// `frame` is what lane.frame points to; not read (and not valid) where the code has not got so far.
bool needs_frame(const user_regs_struct&);
user_regs_struct before_call(const user_regs_struct&, const omx_lane&, const omx_lane_frame* frame, uint64_t site);
// … behind it, with its result …
user_regs_struct behind_call(const user_regs_struct&, const omx_lane&, const omx_lane_frame*, int64_t result);
// … in it, so that the kernel ends or restarts it: `restart` is its class …
user_regs_struct interrupted_call(const user_regs_struct&, const omx_lane&, const omx_lane_frame&);
// … or about to make it by notification.
user_regs_struct call_by_notification(const user_regs_struct&, const omx_lane&, const omx_lane_frame&);

}  // namespace omx
