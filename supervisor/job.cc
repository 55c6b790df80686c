#include "loader/scheduling.h"
#include "supervisor/job.h"

#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include <algorithm>

#include "supervisor/home_clocks.h"

namespace omx {

Job::Job(JobSetup setup, Loop& loop, Link& link) : setup_(std::move(setup)), loop_(loop), link_(link),
      lanes_(loop, link, std::move(setup_.lane_door), [this](uint64_t lane) { hear_lane(lane); }),
      control_(loop, [this](uint64_t client, const AskFrame& ask) { on_ask(client, ask); }) {
    stats_.node = setup_.node_name;
    stats_.where_defaulted = setup_.where_defaulted;
    rlimit file_size{};
    direct_ =
        getrlimit(RLIMIT_FSIZE, &file_size) == 0 && file_size.rlim_cur == RLIM_INFINITY;  // else SIGXFSZ would be ours
    signal(SIGPIPE, SIG_IGN);
    signal(SIGIO, SIG_IGN);     // of a lease that somebody wants us to give up: see outsiders.cc
    auto p = std::make_unique<Process>();
    p->pid = setup_.root;
    auto& root = *p;
    processes_.emplace(setup_.root, std::move(p));
    add_thread(root, HomeTid(setup_.root.value), 0);
}

Status Job::run() {
    ask_for_short_turns();
    sigset_t ours;
    sigemptyset(&ours);
    for (int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&ours, signal);
    sigprocmask(SIG_BLOCK, &ours, nullptr);
    signals_ = UniqueFd(signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_) return fail_errno("signalfd");
    loop_.watch_readable(signals_.get(), [this] { on_own_signals(); });
    loop_.watch_readable(link_.fd(), [this] { hear_link(); });
    watch_clocks();
    (void)control_.open();
    on_children();  // stops from before the descriptor existed
    while (!processes_.empty() && !may_end()) {
        heard_at_.reset();
        answer_senders();
        tell_askers();
        auto idle_since = Spinner::Clock::now();
        auto ran = loop_.run_once(send_files() ? 0 : -1);
        if (!ran) return std::unexpected(ran.error());
        if (!heard_at_) continue;
        spinner_.slept(*heard_at_ - idle_since);
        OMX_TRY(spin());
    }
    tell_askers();
    write_stats();  // unless the last one was held for that: it has been let go
    return {};
}

// An answer has left: in a burst the next call is only microseconds away, and comes where the last one came. Others
// must not starve meanwhile: now and then the loop is asked.
Status Job::spin() {
    constexpr unsigned kLooksPerTurn = 16;
    Status fine;
    auto news = [&] {
        if (!lanes_.empty() && ++looks_ % kLooksPerTurn == 0) {
            auto ran = loop_.run_once(0);
            if (!ran) fine = std::unexpected(ran.error());
            if (!ran || *ran) return true;
        }
        answer_senders();
        return hear() || on_children();
    };
    while (fine && link_up_ && !processes_.empty() && spinner_.wait(news)) send_files();
    return fine;
}

Job::Thread* Job::thread(HomeTid tid) {
    auto it = threads_.find(tid);
    return it == threads_.end() ? nullptr : it->second;
}

Job::Process* Job::process(HomePid pid) {
    auto it = processes_.find(pid);
    return it == processes_.end() ? nullptr : it->second.get();
}

Job::Thread& Job::add_thread(Process& p, HomeTid tid, unsigned slot) {
    auto t = std::make_unique<Thread>();
    t->tid = tid;
    t->process = &p;
    t->slot = slot;
    auto& added = *t;
    p.threads[tid] = std::move(t);
    threads_[tid] = &added;
    return added;
}

void Job::say(std::string_view line) {
    auto text = fmt::format("omxsup: {}\n", line);
    (void)!write(setup_.messages.get(), text.data(), text.size());
}

// Handles what has come where the last frame came from; false: nothing has. A part of a frame is news, too: the rest is
// on its way.
bool Job::hear() {
    if (last_heard_ && !lanes_.find(last_heard_)) last_heard_ = 0;
    return last_heard_ ? hear_lane(last_heard_) : hear_link();
}

bool Job::hear_link() {
    if (!heard_at_) heard_at_ = Spinner::Clock::now();
    bool any = false;
    while (link_up_ && !processes_.empty()) {
        auto bytes = link_.counters().bytes_in;
        auto frame = link_.receive();
        if (!frame) return link_lost(frame.error()), true;
        if (link_.counters().bytes_in != bytes || *frame) any = true, last_heard_ = 0;
        if (!*frame) break;
        on_frame(**frame);
        check_limits();
        if (!link_up_) break;
        if (!link_.has_buffered_frame()) break;
    }
    return any;
}

// Its end is no news: the guest has ended or exec'ed, or makes its calls over the link again.
bool Job::hear_lane(uint64_t number) {
    if (!heard_at_) heard_at_ = Spinner::Clock::now();
    bool any = false;
    for (auto lane = lanes_.find(number); lane && lane == lanes_.find(number);) {
        auto bytes = lane->link.counters().bytes_in;
        auto frame = lane->link.receive();
        if (!frame) return lanes_.drop(number), true;
        if (lane->link.counters().bytes_in != bytes || *frame) any = true, last_heard_ = number;
        if (!*frame) break;
        if ((*frame)->type != FrameType::call) {
            link_lost({fmt::format("the node sent a {} frame over a lane", name((*frame)->type))});
            return true;
        }
        on_call({(*frame)->id, number}, (*frame)->body);
        check_limits();
        if (lane != lanes_.find(number) || !lane->link.has_buffered_frame()) break;
    }
    return any;
}

void Job::on_lane_ask(const LaneAsk& ask) {
    auto p = process(ask.pid);
    if (setup_.lanes && p && p->away && !p->ending && !p->image_on_its_way) lanes_.open(ask);
}

void Job::on_frame(const Frame& f) {
    auto with = [&]<class Message>(void (Job::*handler)(const Message&)) {
        auto m = Message::decode(f.body);
        if (!m) return link_lost(m.error());
        (this->*handler)(*m);
    };
    switch (f.type) {
        case FrameType::call:
            return on_call({f.id}, f.body);
        case FrameType::image_done:
            return with(&Job::on_image_done);
        case FrameType::gone:
            return with(&Job::on_gone);
        case FrameType::lost:
            return with(&Job::on_lost);
        case FrameType::mask:
            return with(&Job::on_mask);
        case FrameType::undo:
            return with(&Job::on_undo);
        case FrameType::raise:
            return with(&Job::on_raise);
        case FrameType::file_done:
            return with(&Job::on_file_done);
        case FrameType::lane_ask:
            return with(&Job::on_lane_ask);
        case FrameType::leave:
            return with(&Job::on_leave);
        case FrameType::homecoming:
            return with(&Job::on_homecoming);
        case FrameType::pages:
            return with(&Job::on_pages);
        case FrameType::shared:
            return with(&Job::on_shared);
        case FrameType::shared_done:
            return with(&Job::on_shared_done);
        case FrameType::file_get: {
            auto m = FileGet::decode(f.body);
            return m ? on_file_get(f.id, *m) : link_lost(m.error());
        }
        case FrameType::proc_told: {
            auto m = ProcTold::decode(f.body);
            return m ? on_proc_told(f.id, *m) : link_lost(m.error());
        }
        case FrameType::clock_ask:
            return with(&Job::on_clock_ask);
        case FrameType::ping:
            return link_.send(FrameType::pong, f.id, f.body);
        case FrameType::pong:
            return on_signal_arrived(f.body);
        default:
            return link_lost({fmt::format("the node sent a {} frame, which only home may send", name(f.type))});
    }
}

void Job::on_clock_ask(const ClockAsk& ask) { link_.send(FrameType::clock, 0, home_clocks(ask.asked)); }

// A guest's clock must follow when somebody sets ours, also a guest that waits for nothing else.
void Job::watch_clocks() {
    constexpr time_t kNever = 9'000'000'000;
    auto arm = [this] {
        itimerspec never{{}, {kNever, 0}};
        timerfd_settime(clock_set_.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, nullptr);
    };
    clock_set_.reset(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC));
    if (!clock_set_) return;
    arm();
    loop_.watch_readable(clock_set_.get(), [this, arm] {
        uint64_t unused;
        if (read(clock_set_.get(), &unused, sizeof unused) < 0 && errno == ECANCELED) tell_clocks();
        arm();
    });
}

// The node asks then, and so learns how its clock and ours have moved against each other.
void Job::tell_clocks() {
    clocks_told_ = Spinner::Clock::now();
    if (link_up_) link_.send(FrameType::clock, 0, home_clocks(0));
}

void Job::link_lost(const Error& why) {
    end_job("", fmt::format("lost the link to node {}: {}", setup_.node_name, why.what));
}

// The node takes up more than it may (job_limits.h). There may be thousands of processes by now: it is said once.
void Job::too_much(std::string_view limit, uint64_t most, std::string_view what) {
    end_job(fmt::format("node {} asks for too much: more than {} {} (--limit {}=N allows it more)", setup_.node_name,
                        most, what, limit),
            "");
}

void Job::check_limits() {
    auto& most = setup_.limits;
    if (link_.queued_bytes() > most.queue_bytes)
        too_much("queue-bytes", most.queue_bytes, "bytes of answers that it doesn't take");
    if (threads_.size() > most.deputies) too_much("deputies", most.deputies, "processes and threads");
    if (files_.size() > most.files) too_much("files", most.files, "files at once");
    if (transfers_.size() > most.files) too_much("files", most.files, "pieces of files at once");
}

void Job::end_job(const std::string& line, const std::string& line_of_each) {
    if (!link_up_) return;
    link_up_ = false;
    line_of_each_ = line_of_each;
    loop_.unwatch_readable(link_.fd());
    lanes_.drop_all();
    if (!line.empty()) say(line);
    std::vector<Process*> away;
    for (auto& [pid, p] : processes_)
        if (p->away && !p->guest_gone) away.push_back(p.get());
    for (auto p : away) {
        p->guest_gone = true;  // as far as home can ever know
        p->homecoming.reset();
        if (!p->held.empty())
            release_held(*p);
        else if (p->staying)
            settle_at_home(*p);
        else
            end_with_line(*p, line_of_each);
    }
}

void Job::on_image_done(const ImageDone& done) {
    auto p = process(done.pid);
    if (!p) return;
    p->image_on_its_way = false;
    if (!done.error.empty()) {
        p->guest_gone = true;
        end_with_line(*p, fmt::format("node {} can't run {}: {}", setup_.node_name, p->program, done.error));
    } else if (p->wanted_home) {
        ask_home(*p, kAsked);
    }
}

void Job::on_gone(const GoneFrame& gone) {
    auto p = process(gone.pid);
    if (p && std::exchange(p->borrowed, nullptr)) return;         // its parent has ended there, or the node has no room
    if (came_home_.erase(gone.pid)) {
        auto late = late_images_.extract(gone.pid);
        bool to_end = late && p && p->kill_sent;      // before the node has seen its next program
        if (late && !to_end) link_.send(FrameType::image, 0, View(late.mapped()));
        if (!to_end) return;
    }
    if (!p) return;
    p->homecoming.reset();
    stats_.processes.push_back(
        {gone.pid.value, p->program, "away", "", gone.wall_us, gone.user_us, gone.system_us, gone.max_rss_kib});
    p->guest_gone = true;
    if (p->staying && p->held.empty()) return settle_at_home(*p);
    if (!p->held.empty()) return release_held(*p);
    if (p->end_line) return end_with_line(*p, *std::exchange(p->end_line, std::nullopt));
    if (p->ending) return;
    bool killed = WIFSIGNALED(gone.wait_status) && WTERMSIG(gone.wait_status) == SIGKILL;
    if (killed && !used_up_its_time(p->pid, gone))
        return end_with_line(
            *p, fmt::format("{} was killed on node {} (out of memory there?)", p->program, setup_.node_name));
    end_like_guest(*p, gone.wait_status);
}

// The node's kernel keeps the limit by the number of ticks that met the process running: on a busy machine that may be
// far from the time used, which is what we are told.
bool Job::used_up_its_time(HomePid pid, const GoneFrame& gone) {
    constexpr uint64_t half_a_second = 500'000;
    rlimit limit{};
    if (prlimit(pid.value, RLIMIT_CPU, nullptr, &limit) < 0 || limit.rlim_max == RLIM_INFINITY) return false;
    return gone.user_us + gone.system_us >= limit.rlim_max * half_a_second;
}

void Job::on_lost(const LostFrame& lost) {
    auto p = process(lost.pid);
    if (!p) return;
    p->homecoming.reset();
    if (!lost.call.empty()) stats_.not_yet[lost.call]++;
    stats_.processes.push_back({lost.pid.value, p->program, "away", lost.reason, 0, 0, 0, 0});
    p->guest_gone = true;
    if (!p->held.empty()) return release_held(*p);
    if (p->staying) return settle_at_home(*p);
    end_with_line(*p, lost.reason);
}

void Job::on_mask(const MaskFrame& m) {
    auto t = thread(m.tid);
    if (!t || !t->process->slots) return;
    t->new_mask = m.mask;
    if (t->state == Thread::State::idle) run_waiting(*t);
}

// ---- ends ----

void Job::end_like_guest(Process& p, int status) {
    p.ending = true;
    if (WIFEXITED(status)) return run_now(p, {op(SYS_exit_group, {static_cast<uint64_t>(WEXITSTATUS(status))})});
    // Dying of a signal: its default action in a deputy whose mask lets it through. `ending` lets it pass.
    auto signal = static_cast<uint64_t>(WTERMSIG(status));
    auto& t = ending_thread(p);
    struct {
        uint64_t handler = 0, flags = 0, restorer = 0, mask = 0, unblock;
    } data;
    data.unblock = uint64_t{1} << (signal - 1);
    uint64_t at = own_data(t, &data, sizeof data);
    run_now(p, {op(SYS_rt_sigaction, {signal, at, 0, 8}),
                op(SYS_rt_sigprocmask, {SIG_UNBLOCK, at + offsetof(decltype(data), unblock), 0, 8}),
                op(SYS_tgkill, {static_cast<uint64_t>(p.pid.value), static_cast<uint64_t>(t.tid.value), signal}),
                op(SYS_exit_group, {128 + signal})});
}

// The process's memory is lost or can't go on: its deputy says so on its own stderr and exits 125.
void Job::end_with_line(Process& p, const std::string& line) {
    if (!p.slots && p.away && p.threads.begin()->second->state == Thread::State::preparing) {
        p.last_words = line;  // see thread_ready
        return;
    }
    p.ending = true;
    auto text = line.empty() ? "" : fmt::format("omxsup: {}\n", line);
    auto& t = ending_thread(p);
    if (!p.slots) {  // it never became a deputy
        (void)!write(setup_.messages.get(), text.data(), text.size());
        syscall(SYS_tgkill, p.pid.value, t.tid.value, SIGKILL);
        return;
    }
    run_now(p, {op(SYS_write, {2, own_data(t, text.data(), text.size()), text.size()}), op(SYS_exit_group, {125})});
}

// Ends a guest because of something only home knows; the rest follows when the node has confirmed.
void Job::end_guest_with_line(Process& p, const std::string& line) {
    p.end_line = line;
    send_kill(p);
}

void Job::send_kill(Process& p) {
    if (p.kill_sent || p.guest_gone || !link_up_) return;
    p.kill_sent = true;
    if (!late_images_.contains(p.pid)) link_.send(FrameType::kill, 0, KillFrame{p.pid});
}

// The last data page of a slot is ours: guests' buffers are laid out from the front, and what we write here is for a
// deputy that makes no more calls of its guest's, or for one short call between two of them.
uint64_t Job::own_data(Thread& t, const void* data, size_t bytes) {
    bytes = std::min<size_t>(bytes, OMX_PAGE);
    std::memcpy(in_slot(t, own_place(t), bytes), data, bytes);
    return own_place(t);
}

uint64_t Job::own_place(const Thread& t) {
    return (SlotMemory::slot_address(t.slot) + (OMX_SLOT_BYTES - OMX_PAGE)).value;
}

// The thread that ends a process: an idle one if there is one, never one that has ended itself (a leader that called
// pthread_exit stays behind as a zombie).
Job::Thread& Job::ending_thread(Process& p) {
    Thread* best = p.threads.begin()->second.get();
    for (auto& [tid, t] : p.threads) {
        if (t->state == Thread::State::idle) return *t;
        if (t->state != Thread::State::ended) best = t.get();
    }
    return *best;
}

// Makes a deputy run operations whatever it is doing: an idle thread is simply posted; one inside a call is
// interrupted and its registers are pointed at the operations.
void Job::run_now(Process& p, std::vector<SlotOp> ops) {
    auto& t = ending_thread(p);
    t.exit_expected = true;
    if (t.state == Thread::State::idle) {
        t.active.emplace();
        return post(t, ops, true);
    }
    t.forced = std::move(ops);
    if (t.state == Thread::State::preparing) return;          // it has no slots yet: thread_ready does it
    tracee::interrupt(t.tid);
    unpark(t);
}

void Job::forget(HomeTid tid) {
    auto t = thread(tid);
    if (!t) return;
    auto p = t->process;
    if (p->slots && t->state != Thread::State::unborn) p->slots->give_back(t->slot);
    threads_.erase(tid);
    p->threads.erase(tid);
    if (!p->threads.empty()) return;
    descriptors_.forget(p->pid);
    lanes_.drop_of(p->pid);
    kept_.forget(p->pid);
    proc_texts_.forget(p->pid);
    processes_.erase(p->pid);
}

// All others of the job have come to their end, reaped or not.
bool Job::is_last(const Thread& t) const {
    return std::ranges::all_of(threads_, [&](auto& other) {
        return other.second == &t || other.second->state == Thread::State::ended;
    });
}

void Job::write_stats() {
    if (stats_written_ || !setup_.stats_file) return;
    stats_written_ = true;
    stats_.lanes = lanes_.opened();
    auto bytes = lanes_.counters();
    bytes += link_.counters();
    auto text = stats_.json(bytes);
    (void)!write(setup_.stats_file.get(), text.data(), text.size());
}

}  // namespace omx
