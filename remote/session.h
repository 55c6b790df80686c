// One connection's life on the node: the session process makes the namespaces and stays outside as the worker's parent;
// the worker inside exchanges hellos and serves until the link ends.
#pragma once
#include "protocol/unique_fd.h"
#include "remote/node.h"

namespace omx {

struct SessionSetup {
    UniqueFd socket;           // connected to a supervisor
    UniqueFd cache;            // the worker's end of the cache's socketpair; invalid: no cache
    UniqueFd news;             // write end of a pipe: the worker tells home's boot id once it knows it; may be invalid
    bool check_uid = true;     // the peer must be a process of our own user on this machine
};

// In a forked process of its own; returns the status to exit with. Ends its worker when it gets SIGTERM.
int run_session(SessionSetup, const NodeOptions&);

std::string node_name(const NodeOptions&);

}  // namespace omx
