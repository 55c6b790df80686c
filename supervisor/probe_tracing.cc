// seccomp, ptrace and the reach into another process: small scenes with a child that plays the guest.
#include "protocol/result.h"
#include "protocol/unique_fd.h"
#include "remote/kernel_abi.h"
#include "supervisor/probe.h"
#include <array>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

namespace omx {

namespace {

constexpr int kGuestFd = 20, kAnswer = 4711;

std::string error() { return std::strerror(errno); }

// Treats getppid(2) as `action` says, lets everything else through. As the system call returns.
int install_filter(uint32_t action, unsigned flags) {
    std::array<sock_filter, 4> code{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return static_cast<int>(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
}

struct Guest {
    pid_t pid = -1;
    UniqueFd go, news;      // it begins when something is written to `go`; it says one int on `news`
    int heard() const { int word = -1; return read(news.get(), &word, sizeof word) == sizeof word ? word : -1; }
    void start() const { (void)!write(go.get(), "g", 1); }
    int end() const { int status = 0; waitpid(pid, &status, 0); return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }
};

// A child that, told to go, installs the filter, says what that gave, makes the call and exits with 0 if `right`.
Guest start_guest(uint32_t action, unsigned flags, bool (*right)(long result)) {
    int go[2], news[2];
    if (pipe(go) != 0 || pipe(news) != 0) return {};
    Guest guest{fork(), UniqueFd(go[1]), UniqueFd(news[0])};
    if (guest.pid != 0) {
        close(go[0]), close(news[1]);
        return guest;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char c;
    if (read(go[0], &c, 1) != 1) _exit(2);
    int installed = install_filter(action, flags);
    if (installed < 0) installed = -errno;
    if (write(news[1], &installed, sizeof installed) < 0 || installed < 0) _exit(3);
    _exit(right(syscall(SYS_getppid)) ? 0 : 1);
}

Result<UniqueFd> take_descriptor(pid_t pid, int number) {
    UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    UniqueFd taken(static_cast<int>(syscall(SYS_pidfd_getfd, process.get(), number, 0)));
    if (!taken) return fail_errno("pidfd_getfd");
    return taken;
}

// Answers the guest's one call by installing a descriptor in it, as a worker does for a mapped file.
Status answer_with_descriptor(int listener) {
    seccomp_notif notification{};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notification) != 0) return fail_errno("receiving a notification");
    UniqueFd ours(static_cast<int>(syscall(SYS_memfd_create, "probe", 0)));
    seccomp_notif_addfd add{};
    add.id = notification.id;
    add.flags = SECCOMP_ADDFD_FLAG_SETFD | SECCOMP_ADDFD_FLAG_SEND;
    add.srcfd = static_cast<uint32_t>(ours.get());
    add.newfd = kGuestFd;
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0) return fail_errno("installing a descriptor");
    return {};
}

bool got_descriptor(long result) { return result == kGuestFd && fcntl(kGuestFd, F_GETFD) != -1; }

Finding notification() {
    const char* remedy = "a kernel with seccomp user notification and ADDFD_SEND (5.14; Debian 12 has 6.1); "
                         "in a container: a seccomp profile that allows seccomp(2) and pidfd_getfd(2)";
    auto guest = start_guest(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER, got_descriptor);
    guest.start();
    int number = guest.heard();
    if (number < 0) return missing(fmt::format("no listener: {}", std::strerror(-number)), remedy);
    auto listener = take_descriptor(guest.pid, number);
    if (!listener) return missing(listener.error().what, remedy);
    auto answered = answer_with_descriptor(listener->get());
    if (!answered) return missing(answered.error().what, remedy);
    if (guest.end() != 0) return missing("the guest got another answer than was sent", remedy);
    return found("a trapped call was answered with a descriptor");
}

Finding killable_wait() {
    auto guest = start_guest(SECCOMP_RET_ALLOW, SECCOMP_FILTER_FLAG_NEW_LISTENER | abi::kSeccompWaitKillableRecv,
                             [](long) { return true; });
    guest.start();
    if (guest.heard() >= 0) return found();
    return missing("a signal would make the kernel repeat a call that home has begun", "kernel 5.19 or newer");
}

Finding sync_wake_up() {
    auto guest = start_guest(SECCOMP_RET_ALLOW, SECCOMP_FILTER_FLAG_NEW_LISTENER, [](long) { return pause() != 0; });
    guest.start();
    auto listener = take_descriptor(guest.pid, guest.heard());
    bool there = listener && ioctl(listener->get(), abi::kNotifSetFlags, abi::kNotifSyncWakeUp) == 0;
    kill(guest.pid, SIGKILL);
    return there ? found() : degraded("a trapped call wakes another CPU: some µs more for each", "kernel 6.6 or newer");
}

// Held at its call by the filter, then the registers say that it has been made.
Status rewrite_call(pid_t pid) {
    constexpr int kStop = SIGTRAP | PTRACE_EVENT_SECCOMP << 8;
    int status = 0;
    if (waitpid(pid, &status, 0) != pid || status >> 8 != kStop) return fail("no stop at the call");
    user_regs_struct r{};
    if (ptrace(PTRACE_GETREGS, pid, nullptr, &r) != 0) return fail_errno("reading registers");
    r.orig_rax = ~0ull;
    r.rax = kAnswer;
    if (ptrace(PTRACE_SETREGS, pid, nullptr, &r) != 0) return fail_errno("writing registers");
    if (ptrace(PTRACE_CONT, pid, nullptr, nullptr) != 0) return fail_errno("letting it go on");
    return {};
}

Finding trace_stop() {
    const char* remedy = "a kernel with CONFIG_SECCOMP_FILTER; in a container: one that allows ptrace(2)";
    auto guest = start_guest(SECCOMP_RET_TRACE, 0, [](long result) { return result == kAnswer; });
    if (ptrace(PTRACE_SEIZE, guest.pid, nullptr, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL) != 0)
        return missing(fmt::format("ptrace of a child: {}", error()), "sysctl kernel.yama.ptrace_scope below 3");
    guest.start();
    if (auto rewritten = rewrite_call(guest.pid); !rewritten) return missing(rewritten.error().what, remedy);
    if (guest.end() != 0) return missing("the call's registers could not be changed", remedy);
    return found("a call was held and its registers changed");
}

// As `omxsup run` does it: the original process names its tracer, which is not its parent.
Finding trace_relative() {
    int word[2], go[2];
    if (pipe(word) != 0 || pipe(go) != 0) return missing(error(), "");
    pid_t original = getpid();
    pid_t supervisor = fork();
    if (supervisor == 0) {
        char c;
        int result = read(go[0], &c, 1) == 1 && ptrace(PTRACE_SEIZE, original, nullptr, 0) == 0 ? 0 : errno;
        if (result == 0) {
            ptrace(PTRACE_INTERRUPT, original, nullptr, nullptr);
            waitpid(original, nullptr, __WALL);
            ptrace(PTRACE_DETACH, original, nullptr, nullptr);
        }
        _exit(write(word[1], &result, sizeof result) < 0);
    }
    prctl(PR_SET_PTRACER, supervisor);
    int result = -1;
    bool answered = write(go[1], "g", 1) == 1 && read(word[0], &result, sizeof result) == sizeof result;
    if (!answered) return missing("no answer", "");
    if (result == 0) return found("a process was traced by one it named, which is not its parent");
    return missing(fmt::format("ptrace by a process we named: {} (is doctor itself traced?)", std::strerror(result)),
                   "sudo sysctl kernel.yama.ptrace_scope=1");
}

Finding memory_of_others() {
    static volatile long value = 1;
    auto guest = start_guest(SECCOMP_RET_ALLOW, 0, [](long) { return true; });
    long there = 0, wanted = 2;
    iovec ours{&there, sizeof there}, theirs{const_cast<long*>(&value), sizeof value}, out{&wanted, sizeof wanted};
    bool read_it = process_vm_readv(guest.pid, &ours, 1, &theirs, 1, 0) == sizeof there && there == 1;
    bool wrote_it = process_vm_writev(guest.pid, &out, 1, &theirs, 1, 0) == sizeof wanted;
    auto why = error();
    kill(guest.pid, SIGKILL);
    if (read_it && wrote_it) return found();
    return missing(fmt::format("process_vm_readv and process_vm_writev of a child: {}", why),
                   "a kernel with CONFIG_CROSS_MEMORY_ATTACH; in a container: one that allows these calls");
}

constexpr Probe kProbes[] = {
    {"trapped calls (seccomp notification)", notification},
    {"trapped calls wait until killed", killable_wait},
    {"trapped calls stay on their CPU", sync_wake_up},
    {"calls held and changed (seccomp trace)", trace_stop},
    {"tracing the command that run becomes", trace_relative},
    {"memory of other processes", memory_of_others},
};

}  // namespace

std::span<const Probe> tracing_probes() { return kProbes; }

}  // namespace omx
