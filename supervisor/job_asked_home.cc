// A guest is wanted at home, whatever it is doing there: its supervisor is to end, or somebody asks for it.
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>

#include "loader/task_status.h"
#include "supervisor/job.h"

namespace omx {

namespace {
// Calls that take nothing in and give nothing out before they end, so that one which is left and made again is the same,
// as behind SIGSTOP and SIGCONT. Not: connect (it goes on by itself, EALREADY), and whatever can be done by half.
bool begins_again_unseen(uint32_t nr, const CallArgs& args) {
    switch (nr) {
        case SYS_read: case SYS_readv: case SYS_accept: case SYS_accept4: case SYS_poll: case SYS_ppoll: case SYS_select:
        case SYS_pselect6: case SYS_epoll_wait: case SYS_epoll_pwait: case SYS_epoll_pwait2: case SYS_pause:
        case SYS_rt_sigsuspend: case SYS_rt_sigtimedwait: case SYS_wait4: case SYS_waitid: case SYS_flock:
        case SYS_fcntl: case SYS_openat: case SYS_open:
            return true;
        case SYS_recvfrom: return !(args[3] & MSG_WAITALL);
        case SYS_recvmsg: return !(args[2] & MSG_WAITALL);
        default: return false;
    }
}
}  // namespace

// Asked again when that wasn't possible: when its image has arrived there (on_image_done).
void Job::ask_home(Process& p, std::string_view reason) {
    p.wanted_home = true;
    if (!p.away || p.homecoming || p.ending || p.kill_sent || p.guest_gone || p.image_on_its_way || !link_up_) return;
    link_.send(FrameType::come, 0, ComeFrame{p.pid, std::string(reason)});
    leave_calls(p, Leaving::of_lanes);
}

// Of a task that has begun at home: whoever made it may be wanted here, with all that it starts.
void Job::stay_like_parent(Process& child) {
    TaskStatus status(child.pid);
    auto number = [&](std::string_view field) { return static_cast<pid_t>(status.number(field).value_or(0)); };
    bool is_thread = number("Tgid") != child.pid.value;
    auto maker = process(HomePid(number(is_thread ? "Tgid" : "PPid")));
    if (!maker || maker->away) return;
    child.why = maker->why;
    child.wanted_home = maker->wanted_home;
}

// Its memory is on the way: what its threads wait for here they wait for in their own name, and the blob can go. Of a call
// that came over a lane the guest hears nothing but the answer, so that is left before.
void Job::leave_calls(Process& p, Leaving which) {
    for (auto& [tid, t] : p.threads) {
        if (t->state != Thread::State::calling || !t->active_for_guest()) continue;
        if (which == Leaving::of_lanes && !t->active->from.lane) continue;
        if (!begins_again_unseen(t->active->call.nr, t->active->call.guest)) continue;
        t->asked_to_leave_call = true;
        tracee::interrupt(tid);
    }
}

// At the stop. What the kernel has left undone begins anew; what remains of its time: keep_result.
void Job::leave_call(Thread& t) {
    if (t.state != Thread::State::calling || !t.active_for_guest()) return;
    interrupt_call(t);
    if (t.active->restart) return;
    constexpr uint16_t kRestartAnyhow = 513;                   // ERESTARTNOINTR
    user_regs_struct regs;
    bool says_so = tracee::registers(t.tid, regs) && regs.rip == blob_address(omx_blob_called) &&
                   static_cast<int64_t>(regs.rax) == -EINTR;
    // These end with EINTR where others would be restarted; nobody has sent them a signal.
    if (says_so && !handled_signal_waits(t)) t.active->restart = kRestartAnyhow;
}

// Its new time-out, if it has one in a register: which one, and what remains.
std::optional<Job::TimeLeft> Job::time_left_of(const ActiveCall& active) {
    auto nr = active.call.nr;
    bool waits = nr == SYS_poll || nr == SYS_epoll_wait || nr == SYS_epoll_pwait;
    unsigned at = nr == SYS_poll ? 2 : 3;
    auto timeout = std::chrono::milliseconds(static_cast<int32_t>(active.call.guest[at]));
    if (!waits || !active.restart || timeout.count() <= 0) return std::nullopt;
    auto spent = std::chrono::steady_clock::now() - active.since;
    auto left = std::chrono::ceil<std::chrono::milliseconds>(timeout - spent);
    return TimeLeft{at, static_cast<uint64_t>(std::max<int64_t>(0, left.count()))};
}

}  // namespace omx
