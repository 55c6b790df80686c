#include "remote/guest.h"
#include "protocol/result.h"

namespace omx {

GuestThread* Guests::thread(HomeTid tid) {
    auto it = threads_.find(tid);
    return it == threads_.end() ? nullptr : it->second.get();
}

GuestProcess* Guests::process(HomePid pid) {
    auto it = processes_.find(pid);
    return it == processes_.end() ? nullptr : it->second.get();
}

GuestProcess& Guests::add_process(HomePid pid) {
    auto p = std::make_unique<GuestProcess>();
    p->pid = pid;
    p->memory.replaced(p->space);
    auto [it, added] = processes_.emplace(pid, std::move(p));
    OMX_CHECK(added, fmt::format("adding guest {}", pid.value));
    return *it->second;
}

GuestThread& Guests::add_thread(GuestProcess& p, HomeTid tid) {
    auto t = std::make_unique<GuestThread>();
    t->tid = tid;
    t->process = &p;
    p.threads.insert(tid.value);
    auto [it, added] = threads_.emplace(tid, std::move(t));
    OMX_CHECK(added, fmt::format("adding thread {} of guest {}", tid.value, p.pid.value));
    return *it->second;
}

void Guests::remove_thread(HomeTid tid) {
    auto t = thread(tid);
    if (!t) return;
    t->process->threads.erase(tid.value);
    threads_.erase(tid);
}

void Guests::remove_process(HomePid pid) {
    auto p = process(pid);
    if (!p) return;
    for (pid_t tid : p->threads) threads_.erase(HomeTid(tid));
    processes_.erase(pid);
}

GuestThread& Guests::only_leader_left(GuestProcess& p) {
    for (pid_t tid : p.threads) threads_.erase(HomeTid(tid));
    p.threads.clear();
    return add_thread(p, HomeTid(p.pid.value));
}

size_t Guests::living(const GuestProcess& p) const {
    size_t n = 0;
    for (pid_t tid : p.threads) n += !threads_.at(HomeTid(tid))->exiting;
    return n;
}

}  // namespace omx
