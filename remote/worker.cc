#include "remote/worker.h"
#include "loader/scheduling.h"
#include "remote/debug.h"
#include <csignal>
#include <sys/signalfd.h>
#include <sys/wait.h>

namespace omx {

Worker::Worker(WorkerSetup setup, Loop& loop, Link& link)
    : setup_(std::move(setup)), loop_(loop), link_(link), clocks_(std::move(setup_.clocks)),
      contents_(link, std::move(setup_.cache), std::move(setup_.big_pages)), lazy_files_(link), shared_copies_(link) {}

Worker::~Worker() { end_everything(); }

Status Worker::run() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, nullptr) < 0) return fail_errno("sigprocmask");
    ask_for_short_turns();
    children_.reset(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    if (!children_) return fail_errno("signalfd");
    loop_.watch_readable(children_.get(), [this] { on_children(); });
    loop_.watch_readable(link_.fd(), [this] { on_link(); });
    OMX_TRY(open_lane_door());
    on_link();                                       // what came together with the hello makes nothing readable
    while (!ended_) {
        send_pages();
        bool waits_for_home = calls_on_the_way_ > 0;
        auto frames = link_.counters().frames_in;
        auto idle_since = Spinner::Clock::now();
        auto turn = loop_.run_once();
        if (!turn) return std::unexpected(turn.error());
        if (waits_for_home && link_.counters().frames_in != frames)
            spinner_.slept(Spinner::Clock::now() - idle_since);
        OMX_TRY(spin_for_reply());
    }
    end_everything();
    if (ended_->code == ECONNRESET) return {};
    return std::unexpected(*ended_);
}

// ---- frames ----

void Worker::on_link() {
    do {
        auto frame = link_.receive();
        if (!frame) return link_ended(frame.error());
        if (!*frame) return;
        on_frame(**frame);
        if (news_) let_out_who_waits();
    } while (!ended_ && link_.has_buffered_frame());
}

void Worker::on_frame(const Frame& f) {
    auto with = [&]<class Message>(void (Worker::*handler)(const Message&)) {
        auto m = Message::decode(f.body);
        if (!m) return link_ended(m.error());
        (this->*handler)(*m);
    };
    switch (f.type) {
        case FrameType::reply: return on_reply(f.id, f.body);
        case FrameType::image: return with(&Worker::on_image);
        case FrameType::signal: return with(&Worker::on_signal);
        case FrameType::kill: return with(&Worker::on_kill);
        case FrameType::freeze: return with(&Worker::on_freeze);
        case FrameType::come: return with(&Worker::on_come);
        case FrameType::scheduling: return with(&Worker::on_scheduling);
        case FrameType::let_come: return with(&Worker::on_let_come);
        case FrameType::ready: return with(&Worker::on_ready);
        case FrameType::proc_ask: {
            auto m = ProcAsk::decode(f.body);
            return m ? on_proc_ask(f.id, *m) : link_ended(m.error());
        }
        case FrameType::clock: return with(&Worker::on_clock);
        case FrameType::written: return with(&Worker::on_written);
        case FrameType::shared: return with(&Worker::on_shared);
        case FrameType::shared_over: return with(&Worker::on_shared_over);
        case FrameType::file_data: {
            auto m = FileData::decode(f.body);
            if (!m) return link_ended(m.error());
            auto fine = LazyFiles::ours(f.id) ? lazy_files_.on_data(f.id, *m) : contents_.on_data(f.id, *m);
            if (!fine) link_ended(fine.error());
            return;
        }
        case FrameType::ping: return on_ping(f);
        default:
            return link_ended({fmt::format("home sent a {} frame, which only a node may send", name(f.type)), EPROTO});
    }
}

// An answer, or home's word that the clocks have been set, or that it is time to ask again. Until the first guest,
// whose CLOCK_MONOTONIC stays as it is set then, some more questions go the way.
void Worker::on_clock(const ClockFrame& frame) {
    constexpr int kQuestionsAtFirst = 16;
    clocks_.heard(frame);
    bool more = !clocks_.settled() && clocks_.gap().samples() < kQuestionsAtFirst;
    if (more || !frame.asked) link_.send(FrameType::clock_ask, 0, ClockAsk{clocks_.now()});
    OMX_DEBUG("home's clock is {} ns ahead, within {} ns", clocks_.gap().ahead(), clocks_.gap().uncertainty());
}

// Home's kernel schedules a guest's thread otherwise. One that is still being made here has it when it runs.
void Worker::on_scheduling(const SchedulingFrame& frame) {
    auto restore = restores_.find(HomePid(frame.tid.value));
    if (restore != restores_.end()) restore->second->image.threads.front().scheduling = frame.scheduling;
    else if (guests_.thread(frame.tid)) setup_.scheduling->apply(frame.tid, frame.scheduling);
    else if (clone_) early_scheduling_.push_back(frame);
}

void Worker::link_ended(const Error& why) {
    if (ended_) return;
    OMX_DEBUG("the link has ended: {}", why.what);
    ended_ = why;
    loop_.unwatch_readable(link_.fd());
}

// Guests without a home must not go on, and none may be left when the worker has gone. In our own pid namespace -1
// means exactly our guests. Stopped and traced ones die of SIGKILL like all others.
void Worker::end_everything() {
    if (getpid() == 1) {
        kill(-1, SIGKILL);
        while (waitpid(-1, nullptr, __WALL) > 0 || errno == EINTR) {}
    }
    for (auto& [pid, p] : guests_.processes())
        if (p->listener) loop_.unwatch_readable(p->listener->fd());
    if (children_) loop_.unwatch_readable(children_.get());
    if (news_) loop_.unwatch_readable(setup_.lane_door.get());
    children_.reset();
}

}  // namespace omx
