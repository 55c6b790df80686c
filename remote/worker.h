// The worker: pid 1 of the guests' namespace, parent and tracer of all of them. One thread, one loop over the link,
// the notification listeners and the ptrace stops. Its parts:
//   worker.cc   the loop, frames in, the end of the link
//   calls.cc    a guest's call: trapped, sent home, answered
//   files.cc    mmap of home's files
//   lazy_maps.cc  big ones, fetched where they are touched
//   shared_maps.cc  those that guests map shared
//   images.cc   taking in a process: stub, plan, start
//   stops.cc    ptrace stops sorted out; ends
//   clones.cc   new threads and processes with the numbers that home gave them
//   execs.cc    execve: a guest becomes a stub again
//   signals.cc  signals, interrupted calls, freezing
//   cpu_accounts.cc, cpu_timers.cc   CPU time: told, limited, measured by timers
//   homing.cc   a guest's way home
//   lanes.cc    guests whose hot calls go home past us
//   memory_calls.cc   calls on the memory of other guests
//   proc_files.cc   what /proc says of guests, for those who read it
#pragma once
#include "loader/address_gaps.h"
#include "loader/guest_capture.h"
#include "protocol/alarm.h"
#include "protocol/link.h"
#include "protocol/loop.h"
#include "protocol/spin.h"
#include "remote/contents.h"
#include "remote/guest.h"
#include "remote/guest_clocks.h"
#include "remote/kernel_abi.h"
#include "remote/images.h"
#include "remote/scheduling.h"
#include "remote/island_state.h"
#include "remote/shared_copies.h"
#include "remote/stub.h"
#include <sys/resource.h>
#include <unordered_set>

namespace omx {

struct WorkerSetup {
    std::optional<CacheClient> cache;
    std::optional<BigPageFiles> big_pages;
    UniqueFd ns_last_pid;          // /proc/sys/kernel/ns_last_pid, open for writing
    GuestClocks clocks;
    FilterProgram filter;
    std::optional<SchedulingHere> scheduling;
    unsigned listener_flags = 0;
    UniqueFd lane_door;            // connections that home made for lanes come here, with the lane's number
    LaneToken lane_token{};        // what home must show the daemon for that
    std::string lanes = "auto";    // auto, off, always
    bool sync_wake_up = true, procmap_query = true, userfaultfd = true;      // if the kernel has them
    uint64_t lazy_above = 0;       // bytes of a file that is mapped without being fetched as a whole
    std::string lacking;           // names of features that home's CPU has and this one hasn't
};

class Worker {
public:
    Worker(WorkerSetup, Loop&, Link&);
    ~Worker();
    // Until the link ends. No guest is left afterwards.
    Status run();

private:
    using Thread = GuestThread;
    using Process = GuestProcess;

    // --- loop, frames ---
    void on_link();
    void on_frame(const Frame&);
    void on_clock(const ClockFrame&);
    void link_ended(const Error&);
    void end_everything();

    // --- calls ---
    void on_listener(Listener&);
    Status spin_for_reply();
    void call_over(Thread&);
    bool take_notification(Listener&);
    void begin_call(Thread&, uint64_t notification, uint32_t nr, const CallArgs&);
    void tell_exit(HomeTid, uint64_t status);
    void begin_life_call(Thread&, uint64_t notification, uint32_t nr, const CallArgs&);
    bool forward(Thread&, uint64_t notification, uint32_t nr, const CallArgs&, bool both = false);
    void on_reply(uint64_t id, View body);
    void finish_call(Thread&, const GuestCall&, const Reply&);
    void lose(Process&, uint32_t nr, const CallArgs&, std::string_view why);
    void come_home(Thread&, const GuestCall&, View reason);
    void go_home_for(Thread&, uint64_t notification, uint32_t nr, const CallArgs&, std::string_view why);
    void kill_guest(Process&);

    // --- lanes ---
    Status open_lane_door();
    void heat(Thread&, uint64_t notification, uint32_t nr, const CallArgs&);
    void ask_for_lane(Process&);
    void on_lane_door();
    bool turn_lane_on(Process&, uint64_t notification);
    void turn_lane_off(Process&);
    void rewrite_site(Thread&, uint64_t site);
    IslandMove leave_island(Thread&, bool faulted);
    bool island_holds_back(Thread&, int signal, const siginfo_t&);
    void on_lane_exit(Thread&, uint64_t notification);
    bool returned_into_site(Thread&);
    bool let_out(Thread&);
    void hold_nothing_back(Thread&);
    void let_out_who_waits();
    void on_lane_stop(Thread&);
    void tell_signals_are_here(Process&);
    void finish_lane_exit(Thread&);
    void on_ping(const Frame&);

    // --- the way home ---
    void bring_home(Process&, const std::string& reason, const std::string& call);
    void on_come(const ComeFrame&);
    bool is_landing(Thread&, int status);
    void has_landed(Process&);
    void stop_for_home(Thread&);
    bool forget_ended_leader(Thread&);
    void join_homing(Process& parent, Process& child);
    void rest(Thread&, Resume);
    static void rest_behind_call(Thread&);
    void ask_to_leave(Process&);
    void stays_behind(Process&);
    void answer_at_rest(Thread&, const ReplyHead&);
    void on_let_come(const KillFrame&);
    void on_ready(const ReadyFrame&);
    void on_written(const PagesFrame&);
    void cannot_go_home(Process&, std::string_view why);
    Status send_home(Process&);
    void put_sites_back(Process&);
    static Status step_out_of_vdso(Process&);
    static ThreadState state_of(Thread&);
    static void note_sleep(Thread&, uint32_t nr, const CallArgs&);
    static void rest_of_sleep(const Thread&, ThreadState&);
    static void abort_restartable_sequence(Thread&, ThreadState&);
    void collect_pending(Process&, Image&);
    Status ask_the_kernel(Process&, GuestCapture&);
    static std::optional<int64_t> make_call(Thread&, uint64_t instruction, uint64_t nr, const CallArgs&);
    void drop_shared_sent_before(GuestCapture&);
    void send_pages();

    // --- files ---
    void finish_mmap(Thread&, const GuestCall&, const Reply&);
    bool needs_homes_cpu(Thread&, int signal, const siginfo_t&);
    void finish_lock(Thread&, const GuestCall&, const Reply&);
    void install_and_proceed(HomeTid, const GuestCall&, Result<SharedFd>);
    void release_installed(Thread&, const GuestCall&);

    // --- shared files ---
    void map_shared(Thread&, const GuestCall&, const FileKey&, const SharedGrant&);
    void tell_shared(uint32_t nr = 0);
    void look_for_done();
    void let_go_of_shared(Process&);
    bool may_be_mapping(const Process&, uint64_t handle);
    static bool has_mapped(const Process&, const SharedCopies::File&);
    void tick_for_shared(unsigned ms);
    void on_shared_tick();
    void on_shared(const SharedFrame&);
    void on_shared_over(const SharedOver&);
    void sync_shared(Thread&, uint64_t notification, const CallArgs&);
    const FileKey* file_of(FileId) const;

    // --- big files ---
    bool to_be_mapped_lazily(const Process&, const CallArgs&, const FileKey&);
    void map_lazily(Thread&, const GuestCall&, const FileKey&);
    void begin_lazy_mapping(Thread&);
    void make_lazy_mapping(Thread&);
    void lazy_mapping_made(Thread&, uint64_t at);
    void lazy_mapping_failed(Thread&, uint64_t at, int64_t error);
    void give_up_laziness(Thread&, const Error&);
    bool watch_faults(Thread&, int number);
    void on_faults(const std::weak_ptr<LazySpace>&);
    void fill_hole(Process&, uint64_t page);
    bool watch_childs_mappings(Thread& child, const std::shared_ptr<LazySpace>& parents);
    void childs_mappings_watched(Thread&, int number);
    void wait_for_content(Thread&, uint64_t notification, const ProcessMemory::Missing&);
    void begin_again(Thread&, uint64_t notification);
    // Calls that a stopped thread makes for us.
    using Then = std::function<void(Thread&, int64_t result)>;
    bool begin_injecting(Thread&);
    void inject(Thread&, uint64_t nr, const CallArgs&, Then);
    void end_injecting(Thread&, uint64_t rax);
    void on_injected_stop(Thread&, int status);
    void on_injected_call(Thread&, uint64_t notification, uint32_t nr);

    // --- images ---
    void on_image(const ImageFrame&);
    void file_arrived(HomePid, uint64_t serial, size_t index, Result<SharedFd>);
    void image_complete(Restore&);
    void start_waiting_stubs();
    Status start_stub(Restore&);
    void image_failed(HomePid, const std::string& why);
    void on_stub_call(Thread&, uint64_t notification, uint32_t nr, const CallArgs&);
    Status hand_plan(Process&, uint64_t notification);
    void start_image(Process&, uint64_t notification, const CallArgs&);
    void on_stub_exec_stop(Thread&);
    static void apply_limits(HomePid, const NodeLimits&);

    // --- stops and ends ---
    void on_children();
    void on_wait(HomeTid, int status, const rusage&);
    void on_stop(Thread&, int status);
    void on_trace_stop(Thread&);
    void on_thread_end(Thread&);
    void on_process_end(Process&, int status, const rusage&);
    void resume(Thread&, Resume = {});
    void rerun_held_call(Thread&);
    static void put_in_front_of_held_call(Thread&);
    void skip_held_call(Thread&, int64_t result);

    // --- clones: one at a time (clones.cc) ---
    struct Clone {
        HomeTid caller;
        uint64_t call = 0;               // id of home's
        uint64_t flags = 0;              // with the exit signal, as home was asked
        bool is_thread = false;
        abi::CloneArgs args{};           // whichever call it was
        HomeTid number;                  // that home gave; 0: no reply yet
        int32_t pidfd = -1;              // CLONE_PIDFD's
        bool running = false;            // the node's kernel is at it
        bool waits_for_number = false;   // a guest that is about to end still has it
        uint64_t mask = 0;               // of the caller
        HomeTid event_child, stopped_child;
        int attempts = 0;
    };
    static int cannot_tell_pidfd(Thread&, const abi::CloneArgs&);
    void request_clone(Thread&);
    static int read_clone_args(Thread&, abi::CloneArgs&);
    std::optional<Clone> read_clone(Thread&);
    void start_next_clone();
    void on_clone_reply(Thread&, const Reply&);
    void run_clone(Thread&);
    static void run_to_its_end(Thread&);
    bool rewrite_for_process(Thread&, user_regs_struct&);
    void on_clone_event(Thread&);
    void on_call_end_stop(Thread&);
    void on_unknown_stop(HomeTid, int status);
    void finish_clone_if_ready();
    void wrong_number(Thread& caller);
    void undo_home_clone();
    void undo_lost_clone(HomeTid caller, View reply);
    void clone_over();
    void clone_lost_thread(HomeTid);
    void clone_lost_caller(HomeTid);

    // --- exec ---
    void request_exec(Thread&);
    void exec_stub(Thread&);
    std::optional<GuestAddr> write_exec_strings(Thread&, const user_regs_struct&);
    void on_exec_event(Thread&);

    // --- signals ---
    void on_signal(const SignalFrame&);
    void on_kill(const KillFrame&);
    void on_freeze(const FreezeFrame&);
    void on_scheduling(const SchedulingFrame&);
    void on_delivery(Thread&, int signal);
    static bool real_siginfo(Process&, HomeTid wanted, siginfo_t&);
    void on_handler_entered(Thread&);
    static void begin_again_what_never_began(Thread&);
    void on_sigreturn(Thread&);
    void tell_mask(Thread&);
    static bool hides_from_signals(const Thread&);
    static bool mask_stays_here(Thread&, const CallArgs&);
    static std::optional<uint64_t> mask_to_be(Thread&, const CallArgs&);
    static void follow_mask(Thread&, const CallArgs&);
    void on_interrupted(Thread&);
    void interrupt_call(Thread&, const GuestCall&, int restart_class);
    bool signal_comes_first(Thread&, const GuestCall&);
    static void put_in_time_left(Thread&, uint32_t nr, CallArgs&);
    std::optional<uint64_t> temporary_mask(Thread&, const GuestCall&);
    bool signal_waits(const Thread&, uint64_t mask);
    void become_sigsuspend(Thread&);

    // --- clocks ---
    void begin_timed_call(Thread&);
    void timed_call_over(Thread&);
    std::optional<timespec> for_this_kernel(Thread&, clockid_t, const timespec&);
    std::optional<int64_t> told_time(Thread&, uint32_t nr, const CallArgs&);

    // --- CPU time ---
    uint64_t restoring_ns(const CpuClock&);
    std::optional<uint64_t> used_here(const CpuClock&);
    void take_up_earlier_use(Process&);
    static void restoring_begins(Process&);
    static void restoring_ends(Process&);
    bool knows_cpu_clock(Thread&, const CallArgs&, GuestAddr to);
    void add_cpu_time(Thread&, const GuestCall&, int64_t result);
    void add_to_clock(Thread&, const CallArgs&);
    void add_use_of_child(Process& parent, HomePid child, uint64_t usage, bool reaped);
    void keep_use_of_ended(const Process&, const rusage&);
    static std::optional<rlimit> wanted_limit(Thread&, uint32_t nr, const CallArgs&);
    void follow_limit(Thread&, const GuestCall&);
    void keep_cpu_timer(Thread&, const CallArgs&);
    void start_cpu_timer(CpuTimer&, const itimerspec&, uint64_t now_ns, std::optional<uint64_t> since);
    int64_t interval_timer_call(Thread&, uint32_t nr, const CallArgs&);
    HomeTid who_is_timed(Process&, int signal);
    static void note_overrun(Process&, const siginfo_t& taken);
    void note_timer_call(Thread&, uint32_t nr, const CallArgs&);
    std::optional<int64_t> cpu_timer_call(Thread&, uint32_t nr, const CallArgs&);
    void collect_cpu_timers(Process&, Image&);
    int64_t set_cpu_timer(Thread&, CpuTimer&, const CallArgs&, uint64_t now_ns);
    std::optional<uint64_t> look_at(Process&, int32_t id, CpuTimer&);
    void look_at_cpu_timers();
    bool answered_here(Thread&, uint64_t notification, uint32_t nr, const CallArgs&);
    void after_call(Thread&, const GuestCall&, int64_t result);

    // --- memory of others ---
    Process* guest_of(uint64_t number);
    void begin_memory_call(Thread&, uint64_t notification, uint32_t nr, const CallArgs&, std::string_view why);
    void finish_memory_copy(Thread&, const GuestCall&);

    // --- /proc ---
    void on_proc_ask(uint64_t id, const ProcAsk&);
    bool waits_for_content(uint64_t id, const ProcAsk&, Process&);
    Result<std::string> proc_text(Process&, const ProcAsk&, ProcFile);
    NodeView view_of(Process&, HomeTid task);

    void held_reply(Thread&, const GuestCall&, const Reply&);

    WorkerSetup setup_;
    Loop& loop_;
    Link& link_;
    GuestClocks clocks_;
    Contents contents_;
    LazyFiles lazy_files_;                                       // outlives all who have one
    SharedCopies shared_copies_;
    Alarm shared_tick_{loop_, [this] { on_shared_tick(); }};     // when they are looked at without a call
    unsigned shared_tick_ms_ = 0, shared_ticks_ = 0;             // how long it was set for last, how often it rang
    Guests guests_;
    UniqueFd children_;                                          // signalfd of SIGCHLD
    std::unordered_map<HomePid, std::unique_ptr<Restore>> restores_;
    std::deque<HomePid> stubs_waiting_;                          // images whose files are here, for want of a turn
    std::deque<HomeTid> clones_waiting_;
    std::optional<Clone> clone_;
    std::unordered_set<uint64_t> lost_clones_;                   // calls whose caller has ended before home's answer
    // What home said to a process that is still being made here: its reply and these cross with its birth.
    std::vector<SignalFrame> early_signals_;
    std::vector<HomePid> early_kills_;
    std::vector<FreezeFrame> early_freezes_;
    std::vector<ComeFrame> early_comes_;
    std::vector<SchedulingFrame> early_scheduling_;
    void catch_up(Process&);
    std::unordered_map<HomePid, EndedUse> ended_use_;            // until somebody has waited for them, or they are back
    Alarm cpu_look_{loop_, [this] { look_at_cpu_timers(); }};
    uint64_t last_call_ = 0, last_restore_ = 0, last_wanted_ = 0;
    uint64_t calls_on_the_way_ = 0, long_calls_ = 0;             // the latter among the former
    HomeTid last_caller_;
    unsigned looks_ = 0;
    std::optional<Error> ended_;
    Spinner spinner_;
    UniqueFd island_code_, island_news_;                         // mapped by every guest
    omx_news* news_ = nullptr;                                   // the latter, here
    uint64_t last_lane_ = 0;
    std::vector<HomeTid> leaving_;                               // on their way out of their islands
    std::vector<HomePid> sending_;                               // whose pages are on their way home
    // What of shared memory, by inode, has gone home with one of those who share it, until the last of them has.
    std::unordered_map<uint64_t, AddressGaps> shared_sent_;
    Bytes scratch_;
};

}  // namespace omx
