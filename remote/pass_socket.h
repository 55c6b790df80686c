// One descriptor over a unix socket: how a link reaches a session and a worker that were made before it came.
#pragma once
#include "protocol/result.h"
#include "protocol/unique_fd.h"

namespace omx {

Status pass_socket(int over, int socket);
// Blocks. Invalid: the other end is gone.
UniqueFd take_socket(int over);

}  // namespace omx
