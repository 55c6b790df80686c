// What people ask a running job for: where its processes are, and to have one back (control.h is the door).
#include <sys/syscall.h>

#include <filesystem>

#include "supervisor/job.h"

namespace omx {

using namespace std::chrono;

namespace {
uint64_t passed(steady_clock::time_point since, auto unit) {
    return static_cast<uint64_t>(duration_cast<decltype(unit)>(steady_clock::now() - since).count());
}

// At home each thread of a process has a record as if it were one.
bool is_leader(HomePid pid) { return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid.value, 0))).valid(); }

std::vector<HomeTid> threads_of(HomePid pid) {
    std::vector<HomeTid> tids;
    std::error_code gone;
    for (auto& entry : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid.value), gone))
        tids.emplace_back(atoi(entry.path().filename().c_str()));
    return tids;
}
}  // namespace

void Job::on_ask(uint64_t client, const AskFrame& ask) {
    if (ask.wish == Wish::list) return tell_all(client);
    auto p = process(ask.pid);
    if (!p || p->ending || !link_up_)
        return control_.send(client, FrameType::moved, MovedFrame{
            .step = MovedFrame::Step::failed, .text = p ? "it is about to end" : "it is no process of this job"});
    bool detach = ask.wish == Wish::detach;
    p->to_be_let_go |= detach;
    ask_home(*p, kAsked);
    askers_.push_back({client, ask.pid, detach});
    if (detach && !p->away && !p->homecoming) detach_at_home(ask.pid);
}

void Job::tell_all(uint64_t client) {
    for (auto& [pid, p] : processes_) {
        if (!is_leader(pid)) continue;
        bool away = p->away || p->homecoming;
        control_.send(client, FrameType::placed, PlacedFrame{
            .pid = pid, .program = p->program, .place = away ? setup_.node_name : "home",
            .why = p->homecoming ? "comes home: " + p->homecoming->reason : p->why,
            .calls = p->calls, .since_ms = passed(p->since, milliseconds())});
    }
    control_.send(client, FrameType::moved, MovedFrame{.step = MovedFrame::Step::done});
}

// Each thread at its next stop: see on_event_stop.
void Job::detach_at_home(HomePid pid) {
    for (auto tid : threads_of(pid)) {
        auto t = thread(tid);
        if (!t) continue;
        t->process->to_be_let_go = true;
        tracee::interrupt(tid);
    }
}

void Job::tell_how_far(const Process& p) {
    for (auto& a : askers_)
        if (a.pid == p.pid) a.bytes = p.homecoming->bytes, a.still_us = passed(p.homecoming->since, microseconds());
}

// In each turn of the loop: who asked hears how far it is, ten times a second at most.
void Job::tell_askers() {
    using Step = MovedFrame::Step;
    std::erase_if(askers_, [&](Asker& a) {
        if (!control_.has(a.client)) return true;
        auto p = process(a.pid);
        if (p && p->homecoming) tell_how_far(*p);
        MovedFrame said{.bytes = a.bytes, .still_us = a.still_us};
        if (p && (p->away || p->homecoming)) {
            if (passed(a.told, milliseconds()) < 100) return false;
            a.told = steady_clock::now();
            said.text = !p->homecoming ? "it comes to rest" : p->away ? "its memory comes" : "a call of it is not over yet";
        } else if (p && a.detach) {
            return false;
        } else if (!p && (!a.detach || !is_leader(a.pid))) {
            said.step = Step::failed, said.text = "it has ended";
        } else {
            said.step = Step::done;
        }
        control_.send(a.client, FrameType::moved, said);
        return said.step != Step::under_way;
    });
}

}  // namespace omx
