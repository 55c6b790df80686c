// The frame by which rt_sigreturn sets all of a thread's state at once: registers, mask, alternate stack, vectors.
#pragma once
#include "loader/image.h"

namespace omx {

// Bytes to lay at `address` (64-byte aligned); rsp must be `address` when rt_sigreturn is called.
Bytes signal_frame(const ThreadState&, uint64_t address);

}  // namespace omx
