// ptrace stops sorted out, and ends: everything that waitpid brings.
#include "remote/debug.h"
#include "remote/worker.h"
#include <csignal>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

namespace omx {

void Worker::on_children() {
    signalfd_siginfo info[16];
    while (read(children_.get(), info, sizeof info) == sizeof info) {}
    // Signals of one kind merge: one may stand for many stops.
    int status;
    rusage usage;
    for (pid_t tid; (tid = wait4(-1, &status, __WALL | WNOHANG, &usage)) > 0;) on_wait(HomeTid(tid), status, usage);
}

void Worker::on_wait(HomeTid tid, int status, const rusage& usage) {
    auto t = guests_.thread(tid);
    if (WIFSTOPPED(status)) {
        if (t) on_stop(*t, status);
        else on_unknown_stop(tid, status);
        return;
    }
    OMX_DEBUG("{}: ended, status {:#x}", tid.value, status);
    // A leader's end is reported when all other threads have been reaped.
    if (auto p = guests_.process(HomePid(tid.value))) return on_process_end(*p, status, usage);
    if (t) on_thread_end(*t);
    else clone_lost_thread(tid);
}

void Worker::on_stop(Thread& t, int status) {
    int event = status >> 16, signal = WSTOPSIG(status);
    OMX_DEBUG("{}: stopped, event {}, signal {}", t.tid.value, event, signal);
    if (t.injected) return on_injected_stop(t, status);
    if (t.process->landing && is_landing(t, status)) return;
    bool entering_handler = std::exchange(t.entering_handler, false);
    switch (event) {
        case 0: break;
        case PTRACE_EVENT_SECCOMP: return on_trace_stop(t);
        case PTRACE_EVENT_CLONE: case PTRACE_EVENT_FORK: case PTRACE_EVENT_VFORK: return on_clone_event(t);
        case PTRACE_EVENT_EXEC: return on_exec_event(t);
        case PTRACE_EVENT_STOP:
            if (signal == SIGTRAP) return on_interrupted(t);
            return resume(t, {PTRACE_LISTEN, 0});             // a group stop: it stays stopped until SIGCONT
        default: return resume(t);
    }
    if (signal == (SIGTRAP | 0x80)) return on_call_end_stop(t);
    if (entering_handler && signal == SIGTRAP) return on_handler_entered(t);
    on_delivery(t, signal);
}

// Held by the filter before a call whose registers may have to be rewritten.
void Worker::on_trace_stop(Thread& t) {
    if (!t.process->listener) return on_stub_exec_stop(t);
    if (!tracee::registers(t.tid, t.at_stop)) return;
    auto nr = static_cast<uint32_t>(t.at_stop.orig_rax);
    OMX_DEBUG("{}: {} held", t.tid.value, call_name(nr));
    bool is_being_made = clone_ && clone_->caller == t.tid && clone_->number != HomeTid();
    if (t.process->homing && !is_being_made) return rerun_held_call(t);                // at home
    if (nr == SYS_rt_sigreturn) return on_sigreturn(t);
    if (nr == SYS_execve || nr == SYS_execveat) return request_exec(t);
    if (auto row = find_row(nr); row && !row->stopped_when.empty()) return begin_timed_call(t);
    request_clone(t);
}

// What home said to a call that is held in a stop.
void Worker::held_reply(Thread& t, const GuestCall& call, const Reply& reply) {
    if (call.nr == SYS_clone) return on_clone_reply(t, reply);
    if (reply.head.restart) return rerun_held_call(t);
    if (call.nr == SYS_rt_sigprocmask) {             // see on_sigreturn
        follow_mask(t, call.args);
        if (t.process->homing) return rerun_held_call(t);
        return resume(t);
    }
    skip_held_call(t, reply.head.result);
}

void Worker::skip_held_call(Thread& t, int64_t result) {
    auto regs = t.at_stop;
    regs.orig_rax = ~uint64_t{0};                              // the kernel makes no call and leaves rax alone
    regs.rax = static_cast<uint64_t>(result);
    tracee::set_registers(t.tid, regs);
    resume(t);
}

// Back in front of its system call instruction, without a call: pending signals are handled, then it calls again.
void Worker::rerun_held_call(Thread& t) {
    put_in_front_of_held_call(t);
    resume(t);
}

void Worker::put_in_front_of_held_call(Thread& t) {
    auto regs = t.at_stop;
    regs.rax = regs.orig_rax;
    regs.orig_rax = ~uint64_t{0};
    regs.rip -= 2;
    tracee::set_registers(t.tid, regs);
}

// The only way a stop ends. While a process is frozen its threads stay where they stop.
void Worker::resume(Thread& t, Resume how) {
    if (t.process->homing) return rest(t, how);
    if (t.process->frozen) { t.held = how; return; }
    bool done = tracee::request(how.request, t.tid, 0, how.signal);
    OMX_DEBUG("{}: resumed by {} with signal {}: {}", t.tid.value, how.request, how.signal,
              done ? "" : strerror(errno));
}

// ---- ends ----

void Worker::on_thread_end(Thread& t) {
    auto tid = t.tid;
    auto& p = *t.process;
    call_over(t);
    guests_.remove_thread(tid);
    clone_lost_thread(tid);
    if (p.homing) ask_to_leave(p);
}

void Worker::on_process_end(Process& p, int status, const rusage& usage) {
    using namespace std::chrono;
    auto micros = [](const timeval& t) {
        return static_cast<uint64_t>(t.tv_sec) * 1000000 + static_cast<uint64_t>(t.tv_usec);
    };
    auto pid = p.pid;
    if (p.stage != Process::Stage::running && !p.killed)
        p.image_error = WIFSIGNALED(status) ? fmt::format("the stub was killed by signal {}", WTERMSIG(status))
                                            : fmt::format("the stub ended with status {}", WEXITSTATUS(status));
    restores_.erase(pid);
    keep_use_of_ended(p, usage);
    let_go_of_shared(p);
    if (p.lost) link_.send(FrameType::lost, 0, LostFrame{pid, p.lost->first, p.lost->second});
    else if (p.image_error) link_.send(FrameType::image_done, 0, ImageDone{pid, *p.image_error});
    else
        link_.send(FrameType::gone, 0,
                   GoneFrame{.pid = pid,
                             .wait_status = status,
                             .user_us = micros(usage.ru_utime),
                             .system_us = micros(usage.ru_stime),
                             .max_rss_kib = static_cast<uint64_t>(usage.ru_maxrss),
                             .wall_us = static_cast<uint64_t>(
                                 duration_cast<microseconds>(steady_clock::now() - p.since).count())});
    auto threads = p.threads;
    for (pid_t tid : threads)
        if (auto t = guests_.thread(HomeTid(tid))) call_over(*t);
    auto listener = p.listener;
    stays_behind(p);
    guests_.remove_process(pid);
    // We hold the last two references but for the loop's: no guest of that stub is left.
    if (listener && listener.use_count() == 2) loop_.unwatch_readable(listener->fd());
    for (pid_t tid : threads) clone_lost_thread(HomeTid(tid));
    start_waiting_stubs();
}

}  // namespace omx
