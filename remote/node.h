// `omxsup node`: the daemon that lets guests of other machines run here. It listens, looks who connects, forks one
// session per connection, owns the file cache, and holds none of the guests' affairs itself.
#pragma once
#include "protocol/link.h"
#include <cstdint>
#include <string>
#include <vector>

namespace omx {

// What a node can do without, or refuses without (docs/kernels.md), as options to try that: --without=A,B.
inline const std::vector<std::string> kForegone{"killable-recv", "procmap-query", "sync-wake-up", "cache", "userfaultfd",
                                                 "big-pages"};

struct NodeOptions {
    std::string listen;                        // HOST:PORT (port 0: any free one), [V6]:PORT or unix:PATH
    std::string name;                          // empty: the host's name
    bool low_latency = false;                  // hold /dev/cpu_dma_latency at 0 so that idle CPUs wake fast
    bool insecure = false;                     // serve whoever connects, not only processes of our own user
    std::string link = "auto";                 // auto, io_uring or epoll: how event loops wait
    uint64_t cache_bytes = 1024ull << 20;      // file contents kept for further guests
    uint64_t lazy_above = 128ull << 20;        // files bigger than that are mapped without being fetched (docs/design.md)
    bool all_cpus = false;                     // guests may use CPUs whose numbers their home doesn't have
    std::string lanes = "auto";                // off, or always: also for guests that make few calls (tests)
    unsigned patience_s = kPatienceSeconds;
    std::vector<std::string> without;          // tests only, see kForegone: do as if this kernel lacked it
    int64_t test_skew[2] = {0, 0};             // tests only: seconds by which CLOCK_REALTIME, CLOCK_MONOTONIC are off
    bool ignore_cpu = false;                   // tests only: take guests whose home lacks features of this CPU
    std::string test_cpu;                      // tests only: as if this CPU had other features (change_features)
};

// Runs in the foreground until SIGTERM or SIGINT. The exit status: 0, or 125 when the node could not start.
int node_main(const NodeOptions&);

// One session on an already connected stream socket, for `omxsup run --local-node`: the same sandbox, the same worker.
// There is no file cache beyond what every worker remembers for itself. Lanes come over `lane_door`, as there is no
// address to connect to. Called in a forked child that has nothing else to do; returns the status to exit with.
int embedded_node(int socket, int lane_door, const NodeOptions&);

}  // namespace omx
