// Makes a process that has just exec'ed a program execute it once more, untraced, so that it gets what the kernel keeps
// from a traced process: another user, capabilities (F7), the right to be seen by nobody.
#pragma once
#include "protocol/result.h"
#include "protocol/types.h"
#include <sys/user.h>

namespace omx {

// `fresh`: the registers that execve left. Points the process, which is in a stop, at a system call instruction of its
// vDSO with execve(path, argv, envp), all as they lie on its new stack. Whoever detaches lets it run. An error: nothing
// has changed.
Status point_at_exec(HomeTid, const user_regs_struct& fresh);

// A process whose file may not be read is closed to its tracer: only registers can be seen. In the stop before a system
// call, this makes that call one by which it opens itself, prctl(PR_SET_DUMPABLE, 1). The exec that follows makes it as
// closed as it was.
bool replace_by_opening(HomeTid, user_regs_struct call);

}  // namespace omx
