// A job as its supervisor runs it: one thread, one loop over the link and the ptrace stops of its processes.
//   job.cc          the loop, frames in, ends of processes
//   job_calls.cc    a guest's call: checked, laid out, posted, collected, answered
//   job_life.cc     exec, clone: how deputies come to be
//   job_let_go.cc   programs that stay at home
//   job_stops.cc    ptrace stops sorted out
//   job_signals.cc  what a signal at a deputy means
//   job_undo.cc     a clone taken back
//   job_scheduling.cc  nice values, scheduling classes, CPUs: the node is told
//   job_home.cc     a guest comes home: its memory
//   job_threads_home.cc  … its threads
//   job_state_home.cc  … and what the kernel keeps for it
//   job_borrowed.cc  … as the child of a vfork
//   job_asked_home.cc  … because it is asked to
//   job_control.cc  what people ask for: ps, migrate, detach
//   job_files.cc    files that the node fetches
//   job_memory.cc   whether a guest may reach for another one's memory
//   job_proc.cc     what is read under /proc about processes that are away
//   job_shared.cc   files that guests have mapped shared
#pragma once
#include "loader/capture.h"
#include "loader/image.h"
#include "loader/proc_files.h"
#include "protocol/alarm.h"
#include "protocol/link.h"
#include "protocol/loop.h"
#include "protocol/spin.h"
#include "supervisor/control.h"
#include "supervisor/deputies.h"
#include "supervisor/descriptors.h"
#include "supervisor/job_limits.h"
#include "supervisor/kept_files.h"
#include "supervisor/lanes.h"
#include "supervisor/proc_texts.h"
#include "supervisor/ptrace.h"
#include "supervisor/shared_files.h"
#include "supervisor/stats.h"
#include <cstdio>
#include <unordered_set>

namespace omx {

struct JobSetup {
    HomePid root;                    // the original process: seized already, about to exec the command
    std::string node_name;
    UniqueFd stats_file, trace_file; // invalid: not asked for
    bool where_defaulted = false;
    bool lanes = true;
    UniqueFd lane_door;              // of an embedded node: see lanes.h
    UniqueFd messages;               // copy of the original process's descriptor 2
    JobLimits limits;
};

class Job {
public:
    Job(JobSetup, Loop&, Link&);
    // Until the last process of the job has ended.
    Status run();

private:
    using Thread = DeputyThread;
    using Process = DeputyProcess;

    // --- frames ---
    Status spin();
    bool hear();
    bool hear_link();
    bool hear_lane(uint64_t number);
    void on_lane_ask(const LaneAsk&);
    void on_clock_ask(const ClockAsk&);
    void watch_clocks();
    void tell_clocks();
    void on_frame(const Frame&);
    void link_lost(const Error&);
    void end_job(const std::string& line, const std::string& line_of_each);
    void too_much(std::string_view limit, uint64_t most, std::string_view what);
    void check_limits();
    bool may_keep(size_t bytes);
    void on_image_done(const ImageDone&);
    void on_gone(const GoneFrame&);
    void on_lost(const LostFrame&);
    void on_mask(const MaskFrame&);
    void on_undo(const UndoFrame&);
    void end_unborn_of(HomeTid parent);

    // --- calls ---
    void on_call(const CallOrigin&, View body);
    void start_call(Thread&, const CallOrigin&, View body);
    void start_plain_call(Thread&, const CallHead&, const CallOrigin&, View body);
    void post(Thread&, const std::vector<SlotOp>&, bool async);
    void post_ours(Thread&, const std::vector<SlotOp>&);
    bool wait_inline(Thread&, int64_t patience_us);
    void run_waiting(Thread&);
    void collect(Thread&);
    static ReplyHead head_of(Thread&, const ActiveCall&);
    bool run_by_supervisor(Thread&, const CallHead&, const CallOrigin&, View body);
    void reply(Thread&, const ReplyHead&, View attachment = {}, std::string_view where = "deputy");
    Writer begin_reply(const CallOrigin&);
    void send_reply(const CallOrigin&, View tail = {});
    void answer_without_deputy(const CallHead&, const CallOrigin&, const ReplyHead&);
    void refuse_call(Thread&, const CallHead&, std::string_view why);
    void trace(HomeTid, const std::string& call, uint32_t nr, int64_t result, std::string_view where);

    // --- life ---
    void on_exec(HomeTid);
    Result<Image> capture(Process&, HomeTid);
    Result<bool> place_blob(Thread&, const Image&, user_regs_struct);
    static std::vector<SlotOp> emptying(const Image&);
    void start_clone(Thread&, const CallHead&, const CallOrigin&);
    void see_it_end(HomeTid);
    void start_thread_exit(Thread&, const CallHead&, const CallOrigin&);
    void say_what_it_may_lock(Thread&, const CallHead&, const CallOrigin&);
    void start_mmap(Thread&, const CallHead&, const CallOrigin&, bool opened = false);
    void finish_mmap(Thread&, const ReplyHead&);
    void answer_mmap(Thread&, const ReplyHead&);
    void on_new_tracee(HomeTid child);
    void on_first_stop(HomeTid);
    void adopt_at_home(HomeTid);
    static void end_nobodys_child(HomeTid);
    void end_nobodys_children();
    bool on_blob_trap(Thread&);
    void take_memfd(Thread&, const user_regs_struct&);
    static bool make_room_for_memfd(Thread&, user_regs_struct);
    void thread_ready(Thread&);
    void finish_clone_if_ready(Thread& parent);
    struct ProcessClone;
    static SlotOp process_clone_op(Thread&, uint64_t flags);
    static std::vector<SlotOp> clone_ops(Thread&, const CallHead&, ActiveCall&);

    // --- programs that stay at home ---
    void stay_home(Process&, Judgement);
    void settle_at_home(Process&);
    void let_go(Process&);
    void let_go(Thread&);
    void exec_again(Process&);
    void on_first_call(Process&);
    bool reach_call_stop(HomeTid);
    bool make_call(HomeTid, const user_regs_struct&);
    static void go_on_at_home(const Process&, HomeTid, int signal = 0);

    void on_asked_to_end();
    size_t count_away() const;
    bool may_end() const { return asked_to_end_ && count_away() == 0; }

    // --- stops ---
    void on_own_signals();
    bool on_children();                       // true if there was any news
    void on_stop(HomeTid, int status);
    void on_event_stop(HomeTid, int status);
    void on_clone_event(HomeTid);
    void on_exit_event(HomeTid);
    void on_thread_ended(HomeTid, int status);
    void died_before_it_was_ready(Thread&);

    // --- signals ---
    void on_signal(HomeTid, int signal);
    enum class Disposition { ignored, handled, stops, fatal };
    Disposition disposition(HomePid, int signal);
    void interrupt_call(Thread&);
    static void resume_behind(Thread&, const siginfo_t&);
    static void unblock_after_call(const Thread& caller, HomeTid);
    static void unpark(Thread&);
    static void wait_on(Thread&, int signal);
    static bool handled_signal_waits(const Thread&);
    static std::chrono::nanoseconds time_left(const Thread&, std::chrono::nanoseconds given);
    static void shorten(Thread&, uint64_t address);
    static std::byte* in_slot(Thread&, uint64_t address, size_t bytes);
    static void note_trap(Thread&);
    bool mend_trap(Thread&, const user_regs_struct&);
    static bool sends_signal(uint32_t nr);
    bool signal_on_its_way(const HomeCall&);
    void answer_senders();
    void answer_interrupted(Thread&);
    void deliver_to_guest(Thread&, const siginfo_t&);
    void on_signal_arrived(View body);
    void on_raise(const SignalFrame&);
    void kill_guest_first(Process&, HomeTid, int signal);
    void release_held(Process&);

    // --- a clone taken back ---
    Process* undoer_of(HomeTid child);
    void hold_waiting_threads(Process&);
    void reap_unseen(Process&);
    void undo_done(Process&);
    bool is_of_unseen_child(HomeTid, int signal);

    // --- ends ---
    void end_like_guest(Process&, int wait_status);
    static bool used_up_its_time(HomePid, const GoneFrame&);
    void end_with_line(Process&, const std::string& line);
    void end_guest_with_line(Process&, const std::string& line);
    void send_kill(Process&);
    static uint64_t own_data(Thread&, const void*, size_t bytes);
    static uint64_t own_place(const Thread&);
    void run_now(Process&, std::vector<SlotOp>);
    void run_forced(Thread&);
    static Thread& ending_thread(Process&);
    void forget(HomeTid);
    bool is_last(const Thread&) const;
    void write_stats();

    // --- scheduling ---
    static bool sets_scheduling(uint32_t nr);
    void follow_scheduling(Thread& caller, const HomeCall&);
    void tell_scheduling(Thread&);
    void look_at_scheduling();

    // --- the way home ---
    static constexpr std::string_view kAsked = "it was asked to come home";
    void ask_home(Process&, std::string_view reason);
    void stay_like_parent(Process&);
    enum class Leaving { all, of_lanes };
    void leave_calls(Process&, Leaving);
    void leave_call(Thread&);
    using TimeLeft = DeputyThread::TimeLeft;
    static std::optional<TimeLeft> time_left_of(const ActiveCall&);
    void on_leave(const LeaveFrame&);
    void on_homecoming(const HomecomingFrame&);
    void on_pages(const PagesFrame&);
    static bool fill(const Homecoming&, uint64_t address, View);
    void cannot_come_home(Process&, std::string_view why);
    void make_room(Process&);
    Status plan_mapping(Process&);
    static void plan_ops(Homecoming&, std::vector<SlotOp>);
    static Status plan_vdso(Process&, const std::vector<MapsEntry>&);
    static Status plan_stack(const std::vector<MapsEntry>&, const Region&, std::vector<SlotOp>&);
    Status plan_files(Process&);
    Status plan_layout(Process&, const ProcDir&);
    static void plan_traits(Process&);
    void plan_cpu_timers(Process&);
    Result<int> file_for(Process&, const FileKey&, uint64_t bytes);
    struct FileToHand {
        uint32_t index;          // in the image
        int fd;                  // of ours
        bool for_readers;        // of what can't become writable
    };
    using FilesToHand = std::vector<FileToHand>;
    Result<std::vector<SlotOp>> take_file_socket(Process&);
    Result<std::vector<SlotOp>> hand_files(Process&, const FilesToHand&);
    Result<std::vector<SlotOp>> map_files(Process&, const FilesToHand&);
    void lead_on(Process&);
    void lead_done(Process&);
    void memory_is_whole(Process&);
    void go_on_when_due(Process&);
    void go_on_who_is_due();
    void end_what_is_left(Process&);
    static void note_borrowed(Homecoming&);
    static void note_pages(Borrowed&, const PagesFrame&);
    void send_written(Process&, HomeTid);
    void give_back(Process&, HomeTid);
    void on_borrowers_call(Thread&);
    void collect_at_home(Thread&);
    static void keep_result(Thread&);
    void finish_call_at_home(Thread&, ThreadState&);
    void note_sleeps(Process&);
    bool sleeps_on(Thread&, ThreadState&);
    void go_back(Thread&);
    static bool met_signals(const Thread&);
    bool put_traps_back(Thread&);
    void leave_blob(Thread&);
    bool take_blob_away(Thread&);

    // --- memory of others ---
    void start_memory_check(Thread&, const CallHead&, const CallOrigin&);
    void finish_memory_check(Thread&, ReplyHead);

    // --- /proc ---
    std::optional<ProcPath> proc_file_away(int file);
    bool run_on_proc(Thread&, const CallHead&, const CallOrigin&, View body, int file);
    void on_proc_told(uint64_t id, const ProcTold&);
    void read_proc(Thread&, std::optional<std::string_view> node);
    std::string proc_text(const Thread& reader, const ProcCall&, std::optional<std::string_view> node);
    void finish_proc_call(Thread&, int64_t result);
    // --- what people ask for ---
    void on_ask(uint64_t client, const AskFrame&);
    void tell_all(uint64_t client);
    void detach_at_home(HomePid);
    void tell_how_far(const Process&);
    void tell_askers();

    // --- files ---
    static Result<UniqueFd> borrow_descriptor(const Thread&, int number);
    Result<FileKey> register_file(const Process&, UniqueFd);
    void on_file_get(uint64_t id, const FileGet&);
    void on_file_done(const FileDone&);
    bool send_files();                        // true: there is more to send at once

    // --- shared files ---
    void share_file(Thread&, UniqueFd);
    void tell_shared();
    void on_shared(const SharedFrame&);
    void on_shared_done(const SharedDone&);
    void sync_shared(Thread&, const CallHead&, const CallOrigin&);
    void watch_shared();
    void on_shared_events();

    Thread* thread(HomeTid);
    Process* process(HomePid);
    Thread& add_thread(Process&, HomeTid, unsigned slot);
    void say(std::string_view line);

    JobSetup setup_;
    Loop& loop_;
    Link& link_;
    Lanes lanes_;
    Control control_;
    struct Asker {
        uint64_t client;
        HomePid pid;
        bool detach;
        uint64_t bytes = 0, still_us = 0;                      // of its homecoming, as last seen
        std::chrono::steady_clock::time_point told{};
    };
    std::vector<Asker> askers_;
    bool link_up_ = true;
    std::string line_of_each_;                                 // with which processes that were away end when it isn't
    JobStats stats_;
    bool stats_written_ = false;
    Spinner::Clock::time_point clocks_told_ = Spinner::Clock::now();
    UniqueFd clock_set_;                                       // readable when somebody has set CLOCK_REALTIME
    Alarm due_{loop_, [this] { go_on_who_is_due(); }};         // when who is in early_ may go on
    std::vector<HomePid> early_;                               // all of it is here, its clock is ahead of ours
    Alarm scheduling_look_{loop_, [this] { look_at_scheduling(); }};
    UniqueFd signals_;                                         // signalfd of SIGCHLD and of what asks to end
    bool asked_to_end_ = false;
    std::unordered_map<HomePid, std::unique_ptr<Process>> processes_;
    std::unordered_map<HomeTid, Thread*> threads_;
    std::unordered_map<HomeTid, HomeTid> announced_;           // new task -> the thread whose clone made it
    std::unordered_set<HomeTid> stopped_early_;                // new tasks whose stop came before that news
    KeptFiles kept_;
    ProcTexts proc_texts_;
    uint64_t last_proc_call_ = 0;
    SharedFiles shared_;
    bool shared_watched_ = false;
    Alarm opened_look_{loop_, [this] { if (link_up_) shared_.look_at_opened(link_); }};
    std::unordered_map<uint64_t, UniqueFd> shared_memory_;     // of processes on their way home, by the node's inode
    std::unordered_map<HomePid, Bytes> late_images_;           // of programs executed before that
    std::unordered_set<HomePid> came_home_;                    // whose guests the node has not yet said to be gone
    std::unordered_set<pid_t> unseen_;                         // children taken back whose SIGCHLD may still come
    std::vector<HomeTid> senders_;                             // threads whose reply is held
    struct NamedFile {
        UniqueFd fd;
        bool fetched = false;                                  // counted
    };
    std::unordered_map<uint64_t, NamedFile> files_;            // by handle
    struct Transfer { uint64_t id, handle, at, end; };
    std::vector<Transfer> transfers_;
    uint64_t next_file_ = 1;
    Spinner spinner_, deputy_spinner_{std::chrono::microseconds(30)};
    uint64_t last_heard_ = 0;                 // the lane that the last frame came over; 0: the link
    std::optional<Spinner::Clock::time_point> heard_at_;       // first in this turn
    unsigned looks_ = 0;
    OwnArena own_arena_;
    KnownDescriptors descriptors_;
    bool privileged_ = may_trace_anybody();
    LeakCheckers leak_checkers_;
    bool direct_ = false;                     // calls may be run by the supervisor: see direct.h
    Bytes scratch_;
};

}  // namespace omx
