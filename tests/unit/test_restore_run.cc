// The machinery behind test_restore.cc; see restored.h.
#include "tests/unit/restored.h"
#include "remote/guest_clocks.h"
#include <array>
#include <chrono>
#include <csignal>
#include <elf.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

namespace omx::test {
namespace {

using Clock = std::chrono::steady_clock;
double since_us(Clock::time_point start) {
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> p;
    for (const auto& t : texts) p.push_back(const_cast<char*>(t.c_str()));
    p.push_back(nullptr);
    return p;
}

void set_stack_limit(uint64_t bytes) {
    struct rlimit limit;
    ::getrlimit(RLIMIT_STACK, &limit);
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_STACK, &limit);
}

[[noreturn]] void become(const Launch& l) {
    auto argv = pointers(l.argv), environment = pointers(l.environment);
    for (int s : l.ignored_signals) std::signal(s, SIG_IGN);
    uint64_t blocked = l.blocked;
    ::personality(l.personality);
    set_stack_limit(l.stack_bytes);
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, nullptr, 8);
    ::execve(argv[0], argv.data(), environment.data());
    ::_exit(127);
}

// To the system-call-exit stop of the execve, where the supervisor captures too.
bool go_to_exec_exit(pid_t pid) {
    int status;
    if (::waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) return false;
    ::ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    ::ptrace(PTRACE_CONT, pid, nullptr, nullptr);
    if (::waitpid(pid, &status, 0) != pid || status >> 8 != (SIGTRAP | PTRACE_EVENT_EXEC << 8)) return false;
    ::ptrace(PTRACE_SYSCALL, pid, nullptr, nullptr);
    return ::waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == (SIGTRAP | 0x80);
}

Result<Captured> capture_stopped(pid_t pid) {
    Captured c;
    auto registrar = [&](UniqueFd fd, const std::string& path) {
        auto key = key_of(fd.get());
        if (key) key->handle = c.files.size() + 1;
        c.files.push_back(std::move(fd));
        c.paths.push_back(path);
        return key;
    };
    auto start = Clock::now();
    auto image = capture_exec(HomePid(pid), registrar);
    c.capture_us = since_us(start);
    if (!image) return std::unexpected(image.error());
    c.encoded = encode_frame(*image);
    return c;
}

// Numbers that a real worker would be asked about; their answer here is "go on".
constexpr uint32_t kAsked[] = {kStubWantsPlan, kStubReady, SYS_prctl, SYS_personality, SYS_close_range, SYS_prlimit64,
                               SYS_rt_sigaction};

int install_filter() {
    std::vector<sock_filter> code = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
    for (uint32_t nr : kAsked) {
        code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1));
        code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
    }
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    sock_fprog program = {static_cast<unsigned short>(code.size()), code.data()};
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    auto flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
    return static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
}

[[noreturn]] void become_stub(int report, int stub, uint64_t stack_bytes, unsigned long stub_personality) {
    set_stack_limit(stack_bytes);
    ::personality(stub_personality);
    int listener = install_filter();
    if (::write(report, &listener, sizeof listener) != sizeof listener) ::_exit(126);
    char go;
    if (::read(report, &go, 1) != 1) ::_exit(126);
    ::close(listener);
    char name[] = "stub";
    char* argv[] = {name, nullptr};
    ::syscall(SYS_execveat, stub, "", argv, argv + 1, AT_EMPTY_PATH);
    ::_exit(126);
}

class StubRun {
public:
    StubRun(const Plan& plan, Outcome& outcome) : plan_(plan), outcome_(outcome) {}

    void run(uint64_t stack_bytes, const Variant& variant) {
        int output[2], report[2];
        if (::pipe2(output, O_CLOEXEC) != 0) return;
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, report) != 0) return;
        UniqueFd stub = stub_file();
        pid_ = ::fork();
        if (pid_ == 0) become_stub(report[1], stub.get(), stack_bytes, variant.stub_personality);
        UniqueFd child_report(report[1]), own_report(report[0]), read_end(output[0]);
        output_.reset(output[1]);
        child_report.reset();
        if (take_listener(own_report.get())) serve();
        output_.reset();
        read_all(read_end.get());
        ::waitpid(pid_, &outcome_.wait_status, 0);
    }

private:
    static UniqueFd stub_file() {
        UniqueFd fd(::memfd_create("stub", MFD_CLOEXEC));
        View elf = stub_elf();
        bool whole = ::write(fd.get(), elf.data(), elf.size()) == static_cast<ssize_t>(elf.size());
        return whole ? std::move(fd) : UniqueFd();
    }

    bool take_listener(int report) {
        int number;
        if (::read(report, &number, sizeof number) != sizeof number || number < 0) return false;
        UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
        listener_.reset(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), number, 0)));
        start_ = Clock::now();
        return listener_.valid() && ::write(report, "g", 1) == 1;
    }

    void add_fd(const seccomp_notif& n, int fd, int number) {
        seccomp_notif_addfd add = {.id = n.id, .flags = SECCOMP_ADDFD_FLAG_SETFD, .srcfd = static_cast<uint32_t>(fd),
                                   .newfd = static_cast<uint32_t>(number), .newfd_flags = 0};
        ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    }

    void give_plan(const seccomp_notif& n) {
        add_fd(n, plan_.memfd.get(), kPlanFd);
        for (size_t i = 0; i < plan_.files.size(); i++) add_fd(n, plan_.files[i], kPlanFd + 1 + static_cast<int>(i));
    }

    // The runner has closed everything; the restored program gets a place to write to.
    void start_guest(const seccomp_notif& n) {
        outcome_.restore_us = since_us(start_);
        auto error = static_cast<int>(n.data.args[0]);
        size_t index = n.data.args[1];
        if (error && index < plan_.operations.size())
            outcome_.error = fmt::format("{}: {}", plan_.operations[index], std::strerror(-error));
        for (int fd : {0, 1, 2}) add_fd(n, output_.get(), fd);
    }

    void answer(const seccomp_notif& n) {
        seccomp_notif_resp r = {.id = n.id, .val = 0, .error = 0, .flags = 0};
        auto nr = static_cast<uint32_t>(n.data.nr);
        if (nr == kStubWantsPlan) give_plan(n);
        else if (nr == kStubReady) start_guest(n);
        else r.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        if (outcome_.restore_us == 0) outcome_.calls_asked++;
        ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &r);
    }

    void serve() {
        for (;;) {
            pollfd p = {.fd = listener_.get(), .events = POLLIN, .revents = 0};
            if (::poll(&p, 1, 20000) <= 0 || !(p.revents & POLLIN)) return;
            seccomp_notif n{};
            if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, &n) == 0) answer(n);
        }
    }

    void read_all(int fd) {
        std::array<char, 4096> buffer;
        for (ssize_t got; (got = ::read(fd, buffer.data(), buffer.size())) > 0;)
            outcome_.output.append(buffer.data(), static_cast<size_t>(got));
    }

    const Plan& plan_;
    Outcome& outcome_;
    pid_t pid_ = 0;
    UniqueFd listener_, output_;
    Clock::time_point start_;
};

// As the node's cache keeps contents: nobody can change them, and the descriptor is read-only.
UniqueFd sealed_copy(int file) {
    UniqueFd memory(::memfd_create("content", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    std::array<char, 65536> buffer;
    off_t at = 0;
    for (ssize_t n; (n = ::pread(file, buffer.data(), buffer.size(), at)) > 0; at += n)
        if (::write(memory.get(), buffer.data(), static_cast<size_t>(n)) != n) return {};
    ::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    return UniqueFd(::open(fmt::format("/proc/self/fd/{}", memory.get()).c_str(), O_RDONLY | O_CLOEXEC));
}

// What a worker tells, of clocks so far ahead of this machine's.
UniqueFd clock_pages(int64_t ahead_ns) {
    timespec monotonic, realtime;
    ::clock_gettime(CLOCK_MONOTONIC, &monotonic);
    ::clock_gettime(CLOCK_REALTIME, &realtime);
    ahead_ns += (realtime.tv_sec - monotonic.tv_sec) * kSecondNs + realtime.tv_nsec - monotonic.tv_nsec;
    omx_clock_page page{};
    for (auto& clock : page.clock) {
        clock.ahead.seconds = moment_of(ahead_ns).seconds;
        clock.ahead.nanoseconds = moment_of(ahead_ns).nanoseconds;
    }
    UniqueFd memory(::memfd_create("clocks", MFD_CLOEXEC));
    if (::ftruncate(memory.get(), OMX_CLOCK_BYTES) < 0 || ::pwrite(memory.get(), &page, sizeof page, 0) < 0) return {};
    return memory;
}

// The extended state of a process that has just begun, but for one control word.
Bytes own_xstate(uint32_t mxcsr) {
    pid_t pid = ::fork();
    if (pid == 0) {
        ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        ::raise(SIGSTOP);
        ::_exit(0);
    }
    ::waitpid(pid, nullptr, 0);
    Bytes state(16384);
    struct iovec io = {state.data(), state.size()};
    ::ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &io);
    state.resize(io.iov_len);
    constexpr size_t mxcsr_at = 24;
    std::memcpy(state.data() + mxcsr_at, &mxcsr, sizeof mxcsr);
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return state;
}

}  // namespace

Result<Captured> capture(const Launch& l) {
    pid_t pid = ::fork();
    if (pid == 0) become(l);
    bool stopped = go_to_exec_exit(pid);
    if (!l.remove_before_capture.empty()) ::unlink(l.remove_before_capture.c_str());
    Result<Captured> c = stopped ? capture_stopped(pid) : fail("the program did not get to its exec");
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return c;
}

Outcome restore(const Captured& c, const Variant& variant) {
    Outcome outcome;
    auto image = Image::decode(View(c.encoded));
    if (!image) return outcome.error = image.error().what, outcome;
    if (variant.mxcsr) image->threads[0].xstate = own_xstate(variant.mxcsr);
    std::vector<UniqueFd> copies;
    std::vector<int> files;
    for (const auto& f : c.files) {
        if (variant.sealed_files) copies.push_back(sealed_copy(f.get()));
        files.push_back(variant.sealed_files ? copies.back().get() : f.get());
    }
    if (variant.first_file >= 0) files[0] = variant.first_file;
    auto start = Clock::now();
    UniqueFd clocks;
    if (variant.realtime_ahead_ns) clocks = clock_pages(variant.realtime_ahead_ns);
    auto plan = plan_restore(*image, files, {.clocks = clocks.get()});
    outcome.plan_us = since_us(start);
    if (!plan) return outcome.error = plan.error().what, outcome;
    outcome.operations = plan->operations.size();
    StubRun(*plan, outcome).run(image->limits.stack_soft, variant);
    return outcome;
}

}  // namespace omx::test
