// What home's clocks show, for guests elsewhere.
#pragma once
#include "protocol/frames.h"

namespace omx {

// All at one moment. `asked` comes from who asked; 0: nobody did.
ClockFrame home_clocks(int64_t asked);

}  // namespace omx
