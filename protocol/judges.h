// Placing by flags: calls whose arguments decide where they run, but whose buffers are the same for all of them.
#pragma once
#include "protocol/table.h"

namespace omx {

Placement place_mmap(const CallArgs&);
// The mlock family, and mmap that does both: home only says how much of its memory the process may lock.
bool locks_memory(uint32_t nr, const CallArgs&);
Placement place_clone(const CallArgs&);
Placement place_unshare(const CallArgs&);
Placement place_personality(const CallArgs&);
Placement place_setrlimit(const CallArgs&);
Placement place_prlimit(const CallArgs&);
Placement place_itimer(const CallArgs&);
Placement place_clock_gettime(const CallArgs&);
Placement place_clock_nanosleep(const CallArgs&);
Placement place_clock_getres(const CallArgs&);
Placement place_get_robust_list(const CallArgs&);
Placement place_get_mempolicy(const CallArgs&);
Placement place_sendto(const CallArgs&);
Placement place_sendmsg(const CallArgs&);
Placement place_sendmmsg(const CallArgs&);
Placement place_xattr_args(const CallArgs&);

}  // namespace omx
