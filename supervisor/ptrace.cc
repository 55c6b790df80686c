#include "supervisor/ptrace.h"

#include <sys/ptrace.h>
#include <sys/wait.h>

#include "loader/vdso_symbols.h"

namespace omx::tracee {

namespace {
bool request(__ptrace_request what, HomeTid tid, const void* address, const void* data) {
    return ptrace(what, tid.value, address, data) == 0;
}
constexpr long kOptions = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC |
                          PTRACE_O_TRACEEXIT | PTRACE_O_TRACESYSGOOD;
const void* number(long n) { return reinterpret_cast<const void*>(n); }
}  // namespace

Status seize(HomePid pid) {
    if (!request(PTRACE_SEIZE, HomeTid(pid.value), nullptr, number(kOptions)))
        return fail_errno(
            fmt::format("can't trace process {} (is it traced already, or does Yama forbid it?)", pid.value));
    return {};
}

bool die_with_supervisor(HomeTid t, bool die) {
    return request(PTRACE_SETOPTIONS, t, nullptr, number(kOptions | (die ? PTRACE_O_EXITKILL : 0)));
}

bool resume(HomeTid t, int signal) { return request(PTRACE_CONT, t, nullptr, number(signal)); }
bool resume_to_syscall_stop(HomeTid t, int signal) { return request(PTRACE_SYSCALL, t, nullptr, number(signal)); }
bool listen(HomeTid t) { return request(PTRACE_LISTEN, t, nullptr, nullptr); }
bool interrupt(HomeTid t) { return request(PTRACE_INTERRUPT, t, nullptr, nullptr); }
bool registers(HomeTid t, user_regs_struct& r) { return request(PTRACE_GETREGS, t, nullptr, &r); }
bool set_registers(HomeTid t, const user_regs_struct& r) { return request(PTRACE_SETREGS, t, nullptr, &r); }
bool signal_info(HomeTid t, siginfo_t& i) { return request(PTRACE_GETSIGINFO, t, nullptr, &i); }
bool event_message(HomeTid t, unsigned long& m) { return request(PTRACE_GETEVENTMSG, t, nullptr, &m); }
bool signal_mask(HomeTid t, uint64_t& m) { return request(PTRACE_GETSIGMASK, t, number(sizeof m), &m); }
bool set_signal_mask(HomeTid t, uint64_t m) { return request(PTRACE_SETSIGMASK, t, number(sizeof m), &m); }
bool detach(HomeTid t) { return request(PTRACE_DETACH, t, nullptr, nullptr); }

bool wait_stop(HomeTid t, int& status) {
    for (;;) {
        pid_t got = waitpid(t.value, &status, __WALL);
        if (got == t.value) return WIFSTOPPED(status);
        if (got < 0 && errno != EINTR) return false;
    }
}

std::optional<uint64_t> syscall_offset_in_vdso() {
    static const auto offset = system_call_in(own_vdso());
    return offset;
}

}  // namespace omx::tracee
