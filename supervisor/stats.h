// What --stats reports: counted where it happens, written as JSON while the last deputy is held at its exit.
#pragma once
#include "protocol/link.h"
#include <array>
#include <map>
#include <string>
#include <vector>

namespace omx {

struct CallStats {
    uint64_t count = 0, forwarded = 0, served_on_node = 0, told = 0;
    uint64_t bytes_out = 0, bytes_in = 0;      // towards home, towards the node
    uint64_t home_us = 0;                      // from the frame's arrival to the reply
};

struct ProcessStats {
    pid_t pid = 0;
    std::string program, where, reason;
    uint64_t wall_us = 0, user_us = 0, system_us = 0, max_rss_kib = 0;
};

struct JobStats {
    std::string node;
    bool where_defaulted = false;
    std::map<uint32_t, CallStats> calls;
    std::map<std::string, uint64_t> not_yet, came_home;      // by call
    uint64_t files_fetched = 0, file_reads = 0, file_bytes_fetched = 0, execs = 0, round_trips = 0;
    uint64_t run_by_supervisor = 0, run_inline = 0, run_async = 0;
    uint64_t lanes = 0, calls_over_lanes = 0;
    std::vector<ProcessStats> processes;

    std::string json(const LinkCounters& link_and_lanes) const;
};

std::string json_string(std::string_view);

}  // namespace omx
