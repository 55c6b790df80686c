// Nice values, scheduling classes and CPUs of deputies are home's kernel's affair. It may refuse a change, or make it
// for a whole group: so after each such call it is asked what is now, and the node is told, ahead of the call's reply.
// What others change (renice, taskset) is found by looking now and then.
#include "loader/scheduling.h"
#include "supervisor/job.h"
#include <sys/resource.h>
#include <sys/syscall.h>

namespace omx {

using namespace std::chrono;

bool Job::sets_scheduling(uint32_t nr) {
    switch (nr) {
        case SYS_setpriority: case SYS_sched_setparam: case SYS_sched_setscheduler: case SYS_sched_setattr:
        case SYS_sched_setaffinity: case SYS_ioprio_set: return true;
        default: return false;
    }
}

void Job::follow_scheduling(Thread& caller, const HomeCall& call) {
    constexpr int kIoprioOfThread = 1;                             // IOPRIO_WHO_PROCESS
    auto follow = [&](Thread& t) {
        if (call.nr == SYS_ioprio_set) t.process->identity_changed = true;      // its reads are no longer as ours
        else tell_scheduling(t);
    };
    bool names_who = call.nr == SYS_setpriority || call.nr == SYS_ioprio_set;
    auto who = static_cast<int>(call.guest[0]);
    bool one = !names_who || who == (call.nr == SYS_setpriority ? PRIO_PROCESS : kIoprioOfThread);
    auto number = static_cast<pid_t>(call.guest[names_who ? 1 : 0]);
    if (!one)
        for (auto& [tid, t] : threads_) follow(*t);
    else if (auto t = number ? thread(HomeTid(number)) : &caller)
        follow(*t);
}

void Job::tell_scheduling(Thread& t) {
    auto& p = *t.process;
    bool told = t.state != Thread::State::home && t.state != Thread::State::ended;
    if (!told || !p.away || p.ending || p.homecoming || late_images_.contains(p.pid) || !link_up_) return;
    auto now = scheduling_of(t.tid);
    if (!now || *now == t.scheduling) return;
    t.scheduling = std::move(*now);
    link_.send(FrameType::scheduling, 0, SchedulingFrame{t.tid, t.scheduling});
}

// As long as anything is away.
void Job::look_at_scheduling() {
    constexpr int kShareOfTime = 1000;
    auto began = steady_clock::now();
    for (auto& [tid, t] : threads_) tell_scheduling(*t);
    if (count_away() == 0) return;
    auto pause = std::max<nanoseconds>(seconds(1), kShareOfTime * (steady_clock::now() - began));
    scheduling_look_.ring_in(pause);
}

}  // namespace omx
