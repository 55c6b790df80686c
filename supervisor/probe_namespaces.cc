// Takes the steps a session takes on a node, with the node's own code (remote/sandbox.h), and says which one fails.
#include "loader/node_vdso.h"
#include "protocol/unique_fd.h"
#include "remote/sandbox.h"
#include "supervisor/greeting.h"
#include "supervisor/probe.h"
#include <cstdlib>
#include <fcntl.h>
#include <sys/wait.h>
#include <time.h>

namespace omx {

namespace {

std::string namespace_remedy() {
    constexpr const char* kAppArmor = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    constexpr const char* kDebian = "/proc/sys/kernel/unprivileged_userns_clone";
    if (first_line("/proc/sys/user/max_user_namespaces") == "0") return "sudo sysctl user.max_user_namespaces=10000";
    if (first_line(kDebian) == "0") return "sudo sysctl kernel.unprivileged_userns_clone=1";
    if (first_line(kAppArmor) == "1")
        return "an AppArmor profile with `userns,` for omxsup, or: "
               "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0";
    return "in a container: allow unshare(2) (its seccomp profile forbids it), or run the node outside";
}

// What `inside` finds as pid 1 of a session's namespaces. It may stay in there: the probe's process ends anyhow.
Finding in_session(Finding (*inside)()) {
    if (auto made = unshare_namespaces(); !made) return missing(made.error().what, namespace_remedy());
    int ends[2];
    if (pipe(ends) != 0) return missing("pipe", "");
    pid_t first = fork();
    if (first < 0) return missing("can't fork into the new pid namespace", namespace_remedy());
    if (first == 0) {
        auto f = inside();
        auto text = fmt::format("{}{}{}{}", static_cast<int>(f.state), f.detail, '\0', f.remedy);
        _exit(write(ends[1], text.data(), text.size()) < 0);
    }
    close(ends[1]);
    std::string text(4096, '\0');
    auto n = read(ends[0], text.data(), text.size());
    if (n <= 1) return missing("the first process of the namespaces died", "");
    text.resize(static_cast<size_t>(n));
    auto middle = text.find('\0');
    return {static_cast<Finding::State>(text[0] - '0'), text.substr(1, middle - 1), text.substr(middle + 1)};
}

Finding user_namespaces() {
    if (auto made = unshare_namespaces(); !made) return missing(made.error().what, namespace_remedy());
    return found("user, mount, pid, net, ipc, uts, cgroup");
}

Finding empty_root() {
    return in_session([] {
        if (auto entered = enter_empty_root(); !entered) return missing(entered.error().what, namespace_remedy());
        return found("empty root with a fresh /proc");
    });
}

pid_t pid_of_a_child() {
    pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, nullptr, 0);
    return child;
}

Finding choose_pids() {
    return in_session([] {
        const char* remedy = "a kernel with CONFIG_CHECKPOINT_RESTORE (Debian's and Ubuntu's have it), 5.9 or newer";
        if (auto entered = enter_empty_root(); !entered) return missing(entered.error().what, namespace_remedy());
        UniqueFd last(open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC));
        if (!last) return missing("no ns_last_pid", remedy);
        if (auto dropped = drop_privileges(); !dropped) return missing(dropped.error().what, remedy);
        if (write(last.get(), "4710", 4) != 4) return missing("ns_last_pid can't be written", remedy);
        pid_t child = pid_of_a_child();
        if (child != 4711) return missing(fmt::format("asked for process number 4711, got {}", child), remedy);
        return found("a process got the number asked for");
    });
}

// As a worker does it: the offsets are set when the privilege is gone already.
Finding time_namespace() {
    return in_session([] {
        const char* remedy = "a kernel with CONFIG_TIME_NS (5.6; Debian's has it), user.max_time_namespaces";
        if (auto entered = enter_empty_root(); !entered) return missing(entered.error().what, namespace_remedy());
        auto offsets = unshare_time();
        if (!offsets) return missing(offsets.error().what, remedy);
        if (auto dropped = drop_privileges(); !dropped) return missing(dropped.error().what, remedy);
        constexpr std::string_view kDay = "monotonic 86400 0\n";
        timespec here{}, there{};
        clock_gettime(CLOCK_MONOTONIC, &here);
        if (write(offsets->get(), kDay.data(), kDay.size()) != static_cast<ssize_t>(kDay.size()))
            return missing("its clocks can't be set", remedy);
        int ends[2];
        if (pipe(ends) != 0) return missing("pipe", "");
        if (fork() == 0) {
            clock_gettime(CLOCK_MONOTONIC, &there);
            _exit(write(ends[1], &there, sizeof there) < 0);
        }
        close(ends[1]);
        if (read(ends[0], &there, sizeof there) != sizeof there || there.tv_sec - here.tv_sec < 86400)
            return missing("a child's clock is not what was set", remedy);
        return found(node_vdso().pieces.empty() ? "yes; the vDSO can't be moved: clocks cost a system call"
                                                : "yes, and the vDSO can be moved");
    });
}

Finding pid_numbers() {
    return found(fmt::format("up to {} (a node's must reach its homes')", first_line("/proc/sys/kernel/pid_max")));
}

constexpr Probe kProbes[] = {
    {"namespaces of an ordinary user", user_namespaces},
    {"empty root with its own /proc", empty_root},
    {"same process numbers (ns_last_pid)", choose_pids},
    {"home's clocks (time namespace)", time_namespace},
    {"process numbers", pid_numbers},
};

}  // namespace

std::span<const Probe> namespace_probes() { return kProbes; }

}  // namespace omx
