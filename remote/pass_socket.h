// One descriptor and a number over a unix socket of type SEQPACKET: how a link reaches a session and a worker that were
// made before it came, and how lanes reach them later.
#pragma once
#include "protocol/result.h"
#include "protocol/unique_fd.h"

namespace omx {

// Never waits: a receiver that doesn't take what it is given must not hold up the sender.
Status pass_socket(int over, int socket, uint64_t number = 0);

struct PassedSocket {
    UniqueFd socket;           // invalid: see `gone`
    uint64_t number = 0;
    bool gone = false;         // the other end is; else there was no descriptor left for the socket
};
// Blocks.
PassedSocket take_socket(int over);

}  // namespace omx
