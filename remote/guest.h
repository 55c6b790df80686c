// What the worker knows of its guests: processes and their threads, by the numbers they have at home (which are the
// numbers they have here: see life.cc).
#pragma once
#include "loader/image.h"
#include "loader/proc_view.h"
#include "protocol/marshal.h"
#include "remote/cpu_timers.h"
#include "remote/guest_clocks.h"
#include "remote/guest_process_memory.h"
#include "remote/lane.h"
#include "remote/homing.h"
#include "remote/listener.h"
#include "remote/tracee.h"
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <sys/resource.h>
#include <unordered_map>

namespace omx {

// A call that home is asked to make. `id` names it on the link; 0: none is on its way.
struct GuestCall {
    uint64_t id = 0;
    uint64_t notification = 0;         // 0: the thread is held in a ptrace stop instead
    uint32_t nr = 0;
    bool both = false;                 // the node's kernel runs it too when home's has
    CallArgs args{};
    bool is_long = false;              // its answer hasn't come while we looked for it
};

// How a stopped thread is to go on.
struct Resume {
    int request = PTRACE_CONT;         // or PTRACE_SYSCALL, PTRACE_LISTEN
    int signal = 0;
};

struct GuestProcess;
struct GuestThread;

// A system call that a stopped thread makes for us, with its registers and mask as they are to be afterwards.
struct InjectedCall {
    user_regs_struct regs{};
    uint64_t mask = 0;
    std::function<void(GuestThread&, int64_t result)> then;
};
// An mmap of a big file, which we make for the guest: see lazy_maps.cc.
struct LazyMapping {
    CallArgs args{};
    std::shared_ptr<LazyFile> file;
};

// A relative sleep, which the node's kernel runs by itself.
struct Sleep {
    uint64_t site = 0;                           // behind its system call instruction
    CallArgs args{};
    std::chrono::steady_clock::time_point until{};
    uint64_t rest = 0;                           // where the guest wants to know what remained
};

struct GuestThread {
    HomeTid tid;
    GuestProcess* process = nullptr;
    GuestCall call;
    uint64_t timed_ns = 0;                       // the CPU time at which it got its last signal of setitimer's timers
    bool exiting = false;                        // has called exit; nothing of its code runs any more
    std::optional<InjectedCall> injected;
    std::optional<LazyMapping> lazy_mapping;
    uint64_t maps_shared = 0;                    // the shared file that its mmap, which it has been let do, maps
    uint64_t content_wanted = 0;                 // not 0: its call begins anew when content is here (lazy_maps.cc)
    std::optional<Resume> held;                  // stopped while its process is frozen: how it goes on at the thaw
    std::optional<LentMoment> lent_moment;       // the argument of its wait: its registers are put back at the end
    user_regs_struct at_stop{};                  // registers at the TRACE stop of clone or execve
    std::optional<uint64_t> temporary_mask;      // its call was interrupted under this mask: see signals.cc
    GuestAddr mask_address;                      // where the guest has that mask
    uint64_t call_site = 0;                      // behind the system call instruction of its last notified call
    uint64_t site_to_rewrite = 0;                // at its next stop: see lanes.cc
    std::optional<LaneExit> lane_exit;           // it has asked to be seen to on its way out of the island
    std::deque<PendingSignal> held_back;         // signals that came while its call was on its lane
    std::optional<CallArgs> masked_args;         // its arguments before it was turned into rt_sigsuspend
    uint64_t mask = 0, mask_at_home = 0;         // blocked signals here, and as home was told
    bool restart_is_ours = false;                // that it ends with -ERESTARTSYS was our answer: its call had begun
    bool entering_handler = false;               // on a step into one: its mask is to be seen
    // Of its last poll: when its time is up, and whether it was interrupted and no handler has run since.
    std::chrono::steady_clock::time_point wait_until{};
    bool goes_on_waiting = false;
    std::optional<Sleep> sleep;                  // the last one: it may be over
    ToldCpuTime told_cpu_time;
    std::optional<rlimit> wanted_limit;          // of its setrlimit or prlimit, while home makes the call
    // On its way home (homing.cc): it stands still for good, its call goes on at home without it, or has been answered.
    bool at_rest = false, left_at_home = false;
    std::optional<ReplyHead> answered;
    std::vector<PendingSignal> undelivered;
};

// Descriptor numbers at which file contents stand for mmap's sake. Shared like the descriptor table they are in.
using InstalledFiles = std::set<int>;

struct GuestProcess {
    enum class Stage : uint8_t { starting, restoring, running };
    HomePid pid;
    Stage stage = Stage::starting;
    std::set<pid_t> threads;
    std::shared_ptr<Listener> listener;
    std::shared_ptr<InstalledFiles> installed = std::make_shared<InstalledFiles>();
    std::shared_ptr<LazySpace> space = std::make_shared<LazySpace>();
    ProcessMemory memory;
    uint64_t clocks = 0;                         // where the pages of GuestClocks are in it
    std::vector<AddressRange> ours;              // mapped in it, and nothing to the guest
    uint64_t system_call = 0;                    // an instruction there
    GuestLane lane;
    std::unique_ptr<Homing> homing;              // it is on its way home
    // Its image has been built up; its thread may still be on the way into its own code. `come`: home wants it then.
    struct Landing {
        std::array<AddressRange, 2> way_in;
        std::optional<std::string> come;
        bool stepped = false;
    };
    std::optional<Landing> landing;
    HomePid lender;                              // that waits in vfork until this process executes or ends; 0: none
    bool frozen = false;
    bool killed = false;
    std::deque<PendingSignal> signals;           // sent to it natively, not yet seen at a delivery stop
    std::unordered_map<int, siginfo_t> last_signal;
    CpuAccount cpu;
    uint32_t locks_future = 0;                   // its last mlockall, if that concerned what will be mapped
    std::map<int32_t, CpuTimer> cpu_timers;      // by number
    // What timer_getoverrun says of each of its timers; nullopt: what home says, or the timer above.
    std::map<int32_t, std::optional<int>> overruns;
    // Why it was ended by us, to be said when it is gone; the call's name if it was a "not yet".
    std::optional<std::pair<std::string, std::string>> lost;
    std::optional<std::string> image_error;      // it ended before its image ran, and this is why
    std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
};

class Guests {
public:
    GuestThread* thread(HomeTid);
    GuestProcess* process(HomePid);
    GuestProcess& add_process(HomePid);
    GuestThread& add_thread(GuestProcess&, HomeTid);
    void remove_thread(HomeTid);
    void remove_process(HomePid);                 // and all its threads
    // After an exec, whichever thread called it: it has the leader's number now, and nobody else is left.
    GuestThread& only_leader_left(GuestProcess&);
    // How many threads of it may still run code of their own.
    size_t living(const GuestProcess&) const;
    bool empty() const { return processes_.empty(); }
    const auto& processes() const { return processes_; }

private:
    std::unordered_map<HomePid, std::unique_ptr<GuestProcess>> processes_;
    std::unordered_map<HomeTid, std::unique_ptr<GuestThread>> threads_;
};

}  // namespace omx
