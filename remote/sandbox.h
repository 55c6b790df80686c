// The place where a job's guests live on this node: user, pid, mount, network, ipc, uts and cgroup namespaces of its
// own, an empty read-only root, no capabilities but one, no descriptors but what the worker needs. Needs no privilege.
#pragma once
#include "loader/big_page_files.h"
#include "protocol/result.h"
#include "protocol/unique_fd.h"
#include <span>
#include <sys/types.h>

namespace omx {

// Called by the session process. Afterwards its next child is pid 1 of the new pid namespace.
Status unshare_namespaces();

// Called by that child before it reads anything from outside: builds the root (with /proc and the stub's program as
// /stub), moves into it and gives up every privilege but CAP_CHECKPOINT_RESTORE in its own namespace.
Status enter_empty_root();
Status drop_privileges();

// Called in between: the caller's children will live in a time namespace of their own. The file (timens_offsets in
// /proc/self) sets its clocks, until the first child is in it, whatever privileges have been dropped by then.
Result<UniqueFd> unshare_time();
// Tests only: this process's children see CLOCK_MONOTONIC and CLOCK_BOOTTIME so much later.
Status shift_time(int64_t seconds);

// A tmpfs of big pages, in no place: only its descriptors hold it. The first way is for who owns its mount namespace and
// is about to leave its root; the second is by a process with namespaces of its own, that has ended when this returns.
Result<BigPageFiles> mount_big_page_files();
Result<BigPageFiles> make_big_page_files();

// Closes every descriptor that is not in `keep`; 0 and 1 become /dev/null, 2 stays (the node's log).
Status keep_descriptors_only(std::span<const int> keep);

// SIGKILL for this process when its parent ends. `parent` is the parent's pid as seen from here before the call (0 for
// a parent outside our pid namespace), so that a parent which died in between is noticed.
Status die_with_parent(pid_t parent);

// The greatest pid that a process of our pid namespace can get; raises it to `wanted` where we may.
Result<uint32_t> pid_max_at_least(uint32_t wanted);

}  // namespace omx
