// Taking in a process: its image, the contents of its files, a stub, the plan for it, and its start.
#include "remote/debug.h"
#include "remote/worker.h"
#include <algorithm>
#include <csignal>

namespace omx {

void Worker::on_image(const ImageFrame& frame) {
    OMX_DEBUG("{}: image of {} bytes, exec {}", frame.pid.value, frame.image.size(), frame.is_exec);
    auto restore = std::make_unique<Restore>();
    auto& r = *restore;
    r.pid = frame.pid, r.tid = frame.tid, r.is_exec = frame.is_exec, r.serial = ++last_restore_;
    if (restores_.contains(r.pid))
        return link_ended({fmt::format("home sent two images for {} at once", r.pid.value), EPROTO});
    auto t = guests_.thread(r.tid);
    bool waits = t && t->process->pid == r.pid && t->call.id && !t->call.notification;
    if (r.is_exec ? !waits : guests_.process(r.pid) != nullptr) {
        // A guest that was killed while its deputy exec'ed: its end has been or will be told.
        if (r.is_exec) return;
        return link_ended({fmt::format("home sent a second image for {}", r.pid.value), EPROTO});
    }
    if (r.is_exec) {
        call_over(*t);
        stays_behind(*t->process);                       // it was to go home with its old program
    }
    r.body.assign(frame.image.begin(), frame.image.end());
    restores_[r.pid] = std::move(restore);
    auto image = Image::decode(View(r.body));
    if (!image) return image_failed(r.pid, image.error().what);
    if (image->threads.size() != 1 || image->threads[0].tid.value != image->pid.value)
        return image_failed(r.pid, "this node takes in processes with one thread only yet");
    r.image = std::move(*image);
    r.files.resize(r.image.files.size());
    r.missing = r.files.size();
    if (r.missing == 0) return image_complete(r);
    auto files = r.image.files;                       // the restore may be gone after any of these
    for (size_t i = 0; i < files.size(); i++)
        contents_.want(files[i], [this, pid = r.pid, serial = r.serial, i](Result<SharedFd> f) {
            file_arrived(pid, serial, i, std::move(f));
        });
}

void Worker::file_arrived(HomePid pid, uint64_t serial, size_t index, Result<SharedFd> file) {
    auto it = restores_.find(pid);
    if (it == restores_.end() || it->second->serial != serial) return;
    auto& r = *it->second;
    if (!file) return image_failed(pid, file.error().what);
    r.files[index] = std::move(*file);
    if (--r.missing == 0) image_complete(r);
}

void Worker::image_complete(Restore& r) {
    if (r.is_exec) {
        if (auto t = guests_.thread(r.tid)) return exec_stub(*t);
        restores_.erase(r.pid);
        return;
    }
    stubs_waiting_.push_back(r.pid);
    start_waiting_stubs();
}

// Only one new id may be chosen at a time in this pid namespace: not while the kernel makes a guest's clone.
void Worker::start_waiting_stubs() {
    while (!stubs_waiting_.empty() && !(clone_ && clone_->running)) {
        auto pid = stubs_waiting_.front();
        stubs_waiting_.pop_front();
        auto it = restores_.find(pid);
        if (it == restores_.end()) continue;
        if (auto started = start_stub(*it->second); !started) image_failed(pid, started.error().what);
    }
}

Status Worker::start_stub(Restore& r) {
    if (r.pid.value <= 1) return fail("a process whose number is 1 can't leave its home");
    OMX_TRY(clocks_.settle());
    OMX_TRY(fork_stub(r.pid, setup_.ns_last_pid.get(), setup_.filter, setup_.listener_flags));
    auto& p = guests_.add_process(r.pid);
    p.memory.through(HomeTid(r.pid.value));
    if (!setup_.procmap_query) p.memory.never_query();
    guests_.add_thread(p, HomeTid(r.pid.value));
    take_up_earlier_use(p);
    return {};
}

// With a process: it is killed, and home told when it is gone. Without: home is told now.
void Worker::image_failed(HomePid pid, const std::string& why) {
    OMX_DEBUG("{}: image failed: {}", pid.value, why);
    restores_.erase(pid);
    if (auto p = guests_.process(pid)) {
        p->image_error = why;
        return kill_guest(*p);
    }
    link_.send(FrameType::image_done, 0, ImageDone{pid, why});
}

// The stub stopped before its exec, with the filter on: its listener can be taken now, and never later.
void Worker::on_stub_exec_stop(Thread& t) {
    auto& p = *t.process;
    user_regs_struct regs;
    if (!tracee::registers(t.tid, regs)) return;
    auto listener = take_listener(p.pid, regs, setup_.sync_wake_up);
    if (!listener) return image_failed(p.pid, listener.error().what);
    p.listener = std::move(*listener);
    loop_.watch_readable(p.listener->fd(), [this, l = p.listener] { on_listener(*l); });
    resume(t);
}

// Calls of a stub: it asks for its plan, makes its own calls natively, and says when all is in place.
void Worker::on_stub_call(Thread& t, uint64_t notification, uint32_t nr, const CallArgs& args) {
    auto& p = *t.process;
    if (nr == kStubReady) return start_image(p, notification, args);
    if (nr != kStubWantsPlan) { p.listener->proceed(notification); return; }
    if (auto handed = hand_plan(p, notification); !handed) image_failed(p.pid, handed.error().what);
}

Status Worker::hand_plan(Process& p, uint64_t notification) {
    auto it = restores_.find(p.pid);
    if (it == restores_.end()) return fail("the stub has no image");
    auto& r = *it->second;
    std::vector<int> files;
    for (auto& f : r.files) files.push_back(f->get());
    NodeFiles own{.island_code = -1, .island_news = island_news_.get(), .clocks = clocks_.pages()};
    if (news_) own.island_code = island_code_.get();
    auto plan = plan_restore(r.image, files, own);
    if (!plan) return std::unexpected(plan.error());
    OMX_TRY(p.listener->install(notification, plan->memfd.get(), kPlanFd));
    for (size_t i = 0; i < plan->files.size(); i++)
        OMX_TRY(p.listener->install(notification, plan->files[i], kPlanFd + 1 + static_cast<int>(i)));
    r.plan = std::move(*plan);
    p.listener->answer(notification, 0);
    return {};
}

void Worker::start_image(Process& p, uint64_t notification, const CallArgs& args) {
    auto it = restores_.find(p.pid);
    if (it == restores_.end() || !it->second->plan)
        return image_failed(p.pid, "the stub was ready before it had a plan");
    auto& r = *it->second;
    if (args[0] != 0) {
        auto operation =
            args[1] < r.plan->operations.size() ? r.plan->operations[args[1]] : fmt::format("operation {}", args[1]);
        return image_failed(
            p.pid, fmt::format("{}: {}", operation, std::strerror(static_cast<int>(-static_cast<int64_t>(args[0])))));
    }
    apply_limits(p.pid, r.image.limits);
    auto& first = r.image.threads.front();
    setup_.scheduling->apply(first.tid, first.scheduling);
    restoring_ends(p);
    p.stage = Process::Stage::running;
    auto& t = *guests_.thread(HomeTid(p.pid.value));
    t.mask = t.mask_at_home = first.blocked;
    p.memory.replaced(p.space);
    p.locks_future = 0;
    p.lender = HomePid();
    p.lane.has_island = r.plan->has_island;
    p.ours = std::move(r.plan->ours), p.system_call = r.plan->system_call, p.clocks = r.plan->clocks;
    p.landing.emplace().way_in = r.plan->way_in;
    restores_.erase(it);
    OMX_DEBUG("{}: runs", p.pid.value);
    link_.send(FrameType::image_done, 0, ImageDone{p.pid, ""});
    p.listener->answer(notification, 0);
}

}  // namespace omx
