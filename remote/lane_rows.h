// Which calls may go over a lane, boiled down from the table (protocol/table.h) to what the island must know of them.
#pragma once
#include "loader/island/island.h"
#include <cstdint>
#include <set>

namespace omx {

bool may_use_lane(uint32_t nr);

// Fills row_of and rows. `without_close`: calls that close a descriptor go by notification, because the worker has
// something to do then (it has installed a file's content at a number of the guest's).
void fill_lane_rows(omx_lane&, bool without_close);

}  // namespace omx
