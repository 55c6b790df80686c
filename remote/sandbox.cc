#include "remote/sandbox.h"
#include "loader/restore.h"
#include "protocol/unique_fd.h"
#include "remote/kernel_abi.h"
#include "remote/pass_socket.h"
#include <algorithm>
#include <array>
#include <csignal>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <string>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace omx {
namespace {

Status write_file(const char* path, std::string_view text) {
    UniqueFd fd(open(path, O_WRONLY | O_CLOEXEC));
    if (!fd) return fail_errno(fmt::format("can't open {}", path));
    if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        return fail_errno(fmt::format("can't write {}", path));
    return {};
}

// Which directory the new root hangs on until pivot_root doesn't matter, but it must exist: nodes may be nearly empty.
Result<std::string> mount_tmpfs(const char* options) {
    for (const char* place : {"/tmp", "/run", "/mnt", "/dev", "/sys"})
        if (mount("omxsup", place, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0) return std::string(place);
    return fail_errno("can't mount a tmpfs");
}

Status write_stub(const std::string& path) {
    UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755));
    View elf = stub_elf();
    if (!fd || write(fd.get(), elf.data(), elf.size()) != static_cast<ssize_t>(elf.size()))
        return fail_errno("can't write the stub's program");
    return {};
}

Status set_capabilities(uint64_t permitted) {
    __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, 2> data{};
    for (size_t i = 0; i < data.size(); i++) {
        auto bits = static_cast<uint32_t>(permitted >> (32 * i));
        data[i] = {.effective = bits, .permitted = bits, .inheritable = 0};
    }
    if (syscall(SYS_capset, &head, data.data()) < 0) return fail_errno("can't drop capabilities");
    return {};
}

// RLIMIT_NOFILE as high as it goes: file contents are installed at the guest's own descriptor numbers.
Status set_limits() {
    rlimit files{};
    if (getrlimit(RLIMIT_NOFILE, &files) < 0) return fail_errno("getrlimit");
    files.rlim_cur = files.rlim_max;
    rlimit core{0, 0};          // a guest's core belongs to home
    if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &core) < 0) return fail_errno("setrlimit");
    return {};
}

// Unsharing the user namespace in the same call makes us owner of all the others: that needs no privilege.
Status unshare_as_owner(int others) {
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (unshare(CLONE_NEWUSER | others) < 0)
        return fail_errno(
            "this node can't make namespaces (user.max_user_namespaces, kernel.unprivileged_userns_clone or "
            "AppArmor's kernel.apparmor_restrict_unprivileged_userns may forbid it)");
    // An ordinary user may map only itself, one line, and only after giving up setgroups(2). Mapping to the same number
    // rather than to 0 means that exec of the stub gives no capabilities back.
    OMX_TRY(write_file("/proc/self/setgroups", "deny"));
    OMX_TRY(write_file("/proc/self/uid_map", fmt::format("{} {} 1", uid, uid)));
    OMX_TRY(write_file("/proc/self/gid_map", fmt::format("{} {} 1", gid, gid)));
    return {};
}

Status pass_big_page_files(int receiver) {
    OMX_TRY(unshare_as_owner(CLONE_NEWNS));
    auto files = mount_big_page_files();
    if (!files) return std::unexpected(files.error());
    for (int fd : files->descriptors()) OMX_TRY(pass_socket(receiver, fd));
    return {};
}

}  // namespace

Status unshare_namespaces() {
    return unshare_as_owner(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                            CLONE_NEWCGROUP);
}

Status enter_empty_root() {
    if (mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) return fail_errno("can't make mounts private");
    auto root = mount_tmpfs("mode=755,size=4m");
    if (!root) return std::unexpected(root.error());
    if (chdir(root->c_str()) < 0 || mkdir("proc", 0755) < 0) return fail_errno("can't prepare the empty root");
    // A fresh proc may be mounted only while another, complete one is in sight: so before the old root goes.
    if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) < 0)
        return fail_errno("can't mount /proc (in a container whose /proc is partly covered the kernel forbids it; "
                          "run the node outside, or with an unmasked /proc)");
    OMX_TRY(write_stub("stub"));
    // pivot_root onto itself stacks the old root on top of the new one, from where it is detached: no directory needed.
    if (syscall(SYS_pivot_root, ".", ".") < 0) return fail_errno("pivot_root");
    if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0) return fail_errno("can't detach the old root");
    if (mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr) < 0)
        return fail_errno("can't make the empty root read-only");
    return {};
}

// "within_size": no page is bigger than what is in it.
Result<BigPageFiles> mount_big_page_files() {
    auto place = mount_tmpfs("mode=700,huge=within_size,size=100%");
    if (!place) return std::unexpected(place.error());
    UniqueFd writing(open(place->c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (mount(place->c_str(), place->c_str(), nullptr, MS_BIND, nullptr) < 0 ||
        mount(nullptr, place->c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr) < 0)
        return fail_errno("can't mount a tmpfs read-only");
    UniqueFd reading(open(place->c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!writing || !reading) return fail_errno("can't open a tmpfs");
    return BigPageFiles(std::move(writing), std::move(reading));
}

Result<BigPageFiles> make_big_page_files() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return fail_errno("socketpair");
    UniqueFd ours(ends[0]), its(ends[1]);
    pid_t helper = fork();
    if (helper < 0) return fail_errno("can't make a process");
    if (helper == 0) _exit(pass_big_page_files(its.get()) ? 0 : 1);
    its.reset();
    int status = -1;
    while (waitpid(helper, &status, 0) < 0 && errno == EINTR) {}
    if (status != 0) return fail("this node has no big pages for files in memory");
    auto writing = take_socket(ours.get()), reading = take_socket(ours.get());
    if (!writing.socket || !reading.socket) return fail("no descriptors left");
    return BigPageFiles(std::move(writing.socket), std::move(reading.socket));
}

Result<UniqueFd> unshare_time() {
    if (unshare(CLONE_NEWTIME) < 0)
        return fail_errno("this node can't make a time namespace (CONFIG_TIME_NS, user.max_time_namespaces)");
    UniqueFd fd(open("/proc/self/timens_offsets", O_RDWR | O_CLOEXEC));
    if (!fd) return fail_errno("can't open /proc/self/timens_offsets");
    return fd;
}

Status shift_time(int64_t seconds) {
    auto fd = unshare_time();
    if (!fd) return std::unexpected(fd.error());
    auto text = fmt::format("monotonic {0} 0\nboottime {0} 0\n", seconds);
    if (write(fd->get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        return fail_errno(fmt::format("can't shift the clocks by {} s", seconds));
    return {};
}

Status drop_privileges() {
    OMX_TRY(set_limits());
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) return fail_errno("can't drop the capability bounding set");
    // No user id gives capabilities at exec any more, not even 0.
    unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
                         SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    if (prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0) return fail_errno("can't set securebits");
    OMX_TRY(set_capabilities(1ull << abi::kCapCheckpointRestore));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return fail_errno("can't set no_new_privs");
    return {};
}

Status keep_descriptors_only(std::span<const int> keep) {
    UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    for (int fd : {STDIN_FILENO, STDOUT_FILENO}) {
        if (std::ranges::find(keep, fd) != keep.end()) continue;
        if (null) dup2(null.get(), fd);        // without /dev/null they are simply closed
        else close(fd);
    }
    std::vector<int> sorted(keep.begin(), keep.end());
    std::ranges::sort(sorted);
    unsigned next = STDERR_FILENO + 1;
    for (int fd : sorted) {
        if (fd < static_cast<int>(next)) continue;
        if (static_cast<unsigned>(fd) > next && syscall(SYS_close_range, next, fd - 1, 0) < 0)
            return fail_errno("close_range");
        next = static_cast<unsigned>(fd) + 1;
    }
    null.release();       // closed by the last close_range, or kept if it is one of `keep`
    if (syscall(SYS_close_range, next, ~0u, 0) < 0) return fail_errno("close_range");
    return {};
}

Status die_with_parent(pid_t parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) return fail_errno("can't ask for a parent-death signal");
    if (getppid() != parent) return fail("the session's parent is gone already");
    return {};
}

Result<uint32_t> pid_max_at_least(uint32_t wanted) {
    constexpr const char* path = "/proc/sys/kernel/pid_max";
    auto read_it = [&]() -> Result<uint32_t> {
        std::array<char, 32> text{};
        UniqueFd fd(open(path, O_RDONLY | O_CLOEXEC));
        if (!fd || read(fd.get(), text.data(), text.size() - 1) <= 0)
            return fail_errno(fmt::format("can't read {}", path));
        return static_cast<uint32_t>(std::strtoul(text.data(), nullptr, 10));
    };
    auto now = read_it();
    // Since 6.14 every pid namespace has a pid_max of its own, before that there was one for the machine: root's to
    // raise.
    if (now && *now < wanted && write_file(path, std::to_string(wanted))) now = read_it();
    return now;
}

}  // namespace omx
