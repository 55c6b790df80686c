// What restores images, makes things faster or roomier; most of it has a substitute.
#include "protocol/unique_fd.h"
#include "protocol/loop.h"
#include "remote/kernel_abi.h"
#include "remote/lazy_space.h"
#include "supervisor/probe.h"
#include <array>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <linux/prctl.h>
#include <sstream>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <vector>

namespace omx {

namespace {

std::string error() { return std::strerror(errno); }

Finding kernel() {
    utsname u{};
    uname(&u);
    return found(fmt::format("{} {}", u.sysname, u.release));
}

// Fields of /proc/self/stat behind the name in parentheses; the first is number 3 in proc(5)'s count.
std::vector<uint64_t> stat_fields() {
    std::ifstream file("/proc/self/stat");
    std::stringstream text;
    text << file.rdbuf();
    std::istringstream rest(text.str().substr(text.str().rfind(')') + 1));
    std::vector<uint64_t> fields(3);
    for (std::string word; rest >> word;) fields.push_back(std::strtoull(word.c_str(), nullptr, 10));
    return fields;
}

// Sets what is set already: it succeeds where a restored guest's break and argument area can be put in place.
Finding memory_map_fields() {
    auto f = stat_fields();
    prctl_mm_map map{};
    map.start_code = f.at(26), map.end_code = f.at(27), map.start_stack = f.at(28);
    map.start_data = f.at(45), map.end_data = f.at(46), map.start_brk = f.at(47);
    map.arg_start = f.at(48), map.arg_end = f.at(49), map.env_start = f.at(50), map.env_end = f.at(51);
    map.brk = static_cast<uint64_t>(syscall(SYS_brk, 0));
    map.exe_fd = ~0u;
    if (prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0) == 0) return found();
    return missing(fmt::format("PR_SET_MM_MAP: {}", error()), "a kernel with CONFIG_CHECKPOINT_RESTORE");
}

Finding mapping_query() {
    UniqueFd maps(open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
    abi::ProcmapQuery query{};
    query.size = sizeof query;
    query.query_addr = reinterpret_cast<uint64_t>(&stat_fields);
    if (ioctl(maps.get(), abi::kProcmapQuery, &query) == 0) return found();
    return degraded("/proc/PID/maps is read as text where a buffer's limits are asked", "kernel 6.11 or newer");
}

Finding ring() {
    if (Loop::make(LoopKind::io_uring)) return found();
    return degraded("the link waits by epoll",
                    "sysctl kernel.io_uring_disabled=0; in a container: allow io_uring_setup(2)");
}

Finding fault_handling() {
    constexpr int kUserModeOnly = 1;
    UniqueFd device(open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
    UniqueFd full(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC)));
    UniqueFd user(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | kUserModeOnly)));
    if (auto work = lazy_mappings_work(); !work)
        return degraded(fmt::format("big mapped files are fetched whole, up to 2 GiB ({})", work.error().what),
                        user ? "echo never > the file that it names" : "a kernel with CONFIG_USERFAULTFD");
    if (full || device) return found("full");
    return found("user mode only: enough for big mapped files");
}

Finding low_latency() {
    UniqueFd latency(open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC));
    if (latency) return found("omxsup node --low-latency can keep CPUs awake");
    return degraded("--low-latency can't be had: an idle CPU takes longer to wake",
                    "sudo setfacl -m u:$USER:w /dev/cpu_dma_latency");
}

Finding descriptors() {
    constexpr rlim_t kPlenty = 4096;
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max >= kPlenty) return found(fmt::format("up to {}", limit.rlim_max));
    return degraded(fmt::format("a guest can map files at descriptors below {} only", limit.rlim_max),
                    "ulimit -Hn 524288");
}

// A directory of our own below our cgroup, made and removed.
Finding resource_groups() {
    std::ifstream file("/proc/self/cgroup");
    std::string line, mine;
    while (std::getline(file, line))
        if (line.starts_with("0::")) mine = line.substr(3);
    auto path = fmt::format("/sys/fs/cgroup{}/omxsup-doctor-{}", mine, getpid());
    if (mkdir(path.c_str(), 0755) == 0) {
        rmdir(path.c_str());
        return found("a cgroup can be made (not used yet)");
    }
    return degraded(fmt::format("no cgroup of its own ({}); not used yet: limits will be per process", error()),
                    "systemd-run --user --scope -p Delegate=yes omxsup node ...");
}

constexpr Probe kProbes[] = {
    {"kernel", kernel},
    {"memory map fields (PR_SET_MM_MAP)", memory_map_fields},
    {"asking for one mapping", mapping_query},
    {"io_uring", ring},
    {"page faults served from outside", fault_handling},
    {"CPUs kept awake", low_latency},
    {"descriptors", descriptors},
    {"resource groups", resource_groups},
};

}  // namespace

std::span<const Probe> comfort_probes() { return kProbes; }

}  // namespace omx
