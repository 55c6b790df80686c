// One connection's life on the node: the session process makes the namespaces and stays outside as the worker's parent;
// the worker inside exchanges hellos and serves until the link ends.
#pragma once
#include "protocol/frames.h"
#include "protocol/result.h"
#include "protocol/unique_fd.h"
#include "remote/node.h"

namespace omx {

struct SessionSetup {
    UniqueFd socket;           // connected to a supervisor; or
    UniqueFd door;             // a unix socket over which it will come: the session is made in advance
    UniqueFd cache;            // the worker's end of the cache's socketpair; invalid: no cache
    UniqueFd lane_door;        // over it come further connections for the same worker: its lanes
    LaneToken lane_token{};    // what the daemon knows them by
    UniqueFd news;             // write end of a pipe: the worker tells home's boot id once it knows it; may be invalid
};

// In a forked process of its own; returns the status to exit with. Ends its worker when it gets SIGTERM.
int run_session(SessionSetup, const NodeOptions&);

// Is the peer a process of our own user on this machine? To be asked outside the sandbox, which sees neither.
Status check_peer(int socket);
// Says why to the peer, and waits until it has read it; returns the status to exit with.
int refuse_peer(UniqueFd socket, const std::string& reason);
// For the daemon itself, when there is no process left to do it.
void refuse_without_waiting(UniqueFd socket, const std::string& reason);

std::string node_name(const NodeOptions&);

}  // namespace omx
