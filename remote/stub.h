// The stub's process: from the worker's fork to its exec of /stub under the guests' filter.
#pragma once
#include "protocol/types.h"
#include "remote/filter.h"
#include "remote/listener.h"
#include <memory>
#include <sys/user.h>

namespace omx {

// The seccomp flags with which guests' filters are installed, if this kernel knows them.
Result<unsigned> listener_flags(bool killable_recv = true);

// Forks the process that will be guest `pid`, traced, about to install the filter. It stops at its execve (TRACE).
// `ns_last_pid` is the open /proc/sys/kernel/ns_last_pid. Nothing else may be making processes in this pid namespace.
Status fork_stub(HomePid pid, int ns_last_pid, const FilterProgram&, unsigned listener_flags);

// Makes `number` the next id that the kernel gives out in our pid namespace, unless it is taken.
Status choose_next_id(int ns_last_pid, pid_t number);

// At that stop: the listener, taken out of the stub by the number that it left in r10.
Result<std::shared_ptr<Listener>> take_listener(HomePid pid, const user_regs_struct&, bool sync_wake_up);

}  // namespace omx
