#include "remote/stub.h"
#include "remote/kernel_abi.h"
#include "remote/tracee.h"
#include <array>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

namespace omx {
namespace {

// The stub's last words if something fails; the worker says them for it. It has no memory of its own to speak from.
constexpr int kNoFilter = 101, kNoExec = 102, kNoStart = 103;

// Signal handlers and mask are the worker's until here; ignored signals would stay ignored across exec.
void reset_signals() {
    for (int s = 1; s < 65; s++) {
        std::array<uint64_t, 4> default_action{};
        syscall(SYS_rt_sigaction, s, default_action.data(), nullptr, 8);
    }
    uint64_t none = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, 8);
}

void drop_all_capabilities() {
    __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, 2> none{};
    syscall(SYS_capset, &head, none.data());
}

// Runs in the new process, which shares nothing with the worker. `go` is readable when the worker has seized us.
[[noreturn]] void become_stub(int go, const FilterProgram& program, unsigned flags) {
    char byte;
    if (read(go, &byte, 1) != 1) _exit(kNoStart);
    if (syscall(SYS_close_range, 0, ~0u, 0) < 0) _exit(kNoStart);
    reset_signals();
    drop_all_capabilities();
    sock_fprog filter{static_cast<unsigned short>(program.size()), const_cast<sock_filter*>(program.data())};
    static const char path[] = "/stub";
    static const char* const argv[] = {path, nullptr};
    static const char* const envp[] = {nullptr};
    long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
    if (listener < 0) _exit(kNoFilter);
    // From here on every call is trapped. The listener's number travels in an argument that execve has no use for.
    register long r10 asm("r10") = listener;
    long failed;
    asm volatile("syscall"
                 : "=a"(failed)
                 : "a"(SYS_execve), "D"(path), "S"(argv), "d"(envp), "r"(r10)
                 : "rcx", "r11", "memory");
    asm volatile("syscall" : : "a"(SYS_exit_group), "D"(kNoExec) : "rcx", "r11", "memory");
    __builtin_unreachable();
}

void discard(pid_t child) {
    kill(child, SIGKILL);
    while (waitpid(child, nullptr, __WALL) < 0 && errno == EINTR) {}
}

}  // namespace

// A thread that waits for home's answer must not be woken by a signal: the kernel would make it call again, while home
// is at the first call. There is no doing without.
Result<unsigned> listener_flags(bool killable_recv) {
    unsigned flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | abi::kSeccompWaitKillableRecv;
    // Without a program the kernel gets as far as looking at the flags: EFAULT means that it knows them.
    bool known = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, nullptr) < 0 && errno == EFAULT;
    if (known && killable_recv) return flags;
    return fail("this node's kernel lacks SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: it must be 5.19 or newer");
}

Status choose_next_id(int ns_last_pid, pid_t number) {
    auto text = std::to_string(number - 1);
    if (pwrite(ns_last_pid, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
        return fail_errno("can't write ns_last_pid");
    return {};
}

Status fork_stub(HomePid pid, int ns_last_pid, const FilterProgram& program, unsigned flags) {
    int go[2];
    if (pipe2(go, O_CLOEXEC) < 0) return fail_errno("pipe");
    UniqueFd reader(go[0]), writer(go[1]);
    OMX_TRY(choose_next_id(ns_last_pid, pid.value));
    pid_t child = fork();
    if (child < 0) return fail_errno("this node can't make another process");
    if (child == 0) {
        writer.reset();
        become_stub(reader.get(), program, flags);
    }
    auto give_up = [&](std::string why) { discard(child); return fail(std::move(why)); };
    if (child != pid.value)
        return give_up(fmt::format("this node can't give a process the number {} (it is taken)", pid.value));
    if (!tracee::seize(HomeTid(child))) return give_up(fmt::format("can't trace the stub: {}", strerror(errno)));
    if (write(writer.get(), "", 1) != 1) return give_up("can't start the stub");
    return {};
}

Result<std::shared_ptr<Listener>> take_listener(HomePid pid, const user_regs_struct& regs, bool sync_wake_up) {
    UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid.value, 0)));
    if (!pidfd) return fail_errno("pidfd_open of the stub");
    UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), regs.r10, 0)));
    if (!fd) return fail_errno("can't take the stub's listener");
    fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
    return std::make_shared<Listener>(std::move(fd), sync_wake_up);
}

}  // namespace omx
