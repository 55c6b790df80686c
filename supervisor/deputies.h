// The job's processes and threads at home, as the supervisor keeps them. Plain records: what happens to them is in
// job_*.cc, one file per kind of event.
#pragma once
#include "loader/proc_view.h"
#include "protocol/marshal.h"
#include "supervisor/homecoming.h"
#include "supervisor/new_program.h"
#include "supervisor/slots.h"
#include <sys/user.h>
#include <chrono>
#include <sys/resource.h>
#include <memory>
#include <optional>
#include <unordered_map>

namespace omx {

struct DeputyProcess;

// Where a call came from and its answer goes.
struct CallOrigin {
    uint64_t id = 0;         // of the frame
    uint64_t lane = 0;       // over which it came; 0: the link
    bool ours() const { return id == 0 && lane == 0; }  // nobody waits for a reply
};

// It reads or writes a file of /proc about a process that is away; the node has been asked (job_proc.cc).
struct ProcCall {
    uint64_t id = 0;                         // of that question
    ProcPath path;
    std::optional<uint64_t> offset;          // said by the call; else the file's own is used, and moved
    bool write = false;
    UniqueFd file;                           // a copy of the deputy's
    std::unique_ptr<Arena> arena;            // where the call's buffers are meanwhile
};

// A call in flight: from its frame to its reply.
struct ActiveCall {
    CallOrigin from;
    HomeCall call;
    std::unique_ptr<SlotArena> arena;
    std::optional<ProcCall> proc;            // no deputy is at it, but the node
    unsigned guest_op = 0;                   // index of the guest's call among the slot's operations
    uint16_t restart = 0;                    // see ReplyHead
    bool opened = false;                     // mmap: the process was closed (PR_SET_DUMPABLE, 0), and will be again
    // clone of a thread: the slot it will use. The reply waits until the new task stands ready.
    std::optional<unsigned> child_slot;
    std::chrono::steady_clock::time_point since;
    std::optional<std::chrono::nanoseconds> given;     // to wait, if that is in memory and has been shortened
    std::string text;                        // for --trace
};

struct DeputyThread {
    enum class State {
        unborn,       // announced by its parent's clone, not stopped yet
        preparing,    // between exec or fork and its first wait in the blob
        idle,         // waits in the blob
        calling,      // its slot is posted
        home,         // runs its own code again: see job_home.cc
        ended,
    };
    HomeTid tid;
    DeputyProcess* process = nullptr;
    State state = State::unborn;
    unsigned slot = 0;
    std::optional<ActiveCall> active;
    std::optional<std::pair<CallOrigin, Bytes>> waiting;  // a call that came before the thread was ready
    HomeTid made_by;                                       // whose clone waits until it is ready
    int32_t pidfd_of_child = -1;                           // that its last clone has opened
    bool changes_descriptors = false;                      // what it was posted may: see KnownDescriptors
    std::optional<ReplyHead> held_reply;                   // of a call that sent a signal: see answer_senders
    std::optional<uint64_t> new_mask;                      // of its guest, to be set before the next call
    bool trap_blocked = false;                             // SIGTRAP, by its guest: see mend_trap
    bool parked = false;                                   // not resumed behind a signal: see resume_behind
    unsigned signals_met = 0;                              // by the call it is at
    uint64_t blocked_for_call = 0;                         // signals that its guest doesn't block: the same
    Scheduling scheduling;                                 // as the node was told
    bool exit_expected = false;                            // its exit is of our making
    std::vector<SlotOp> forced;                            // to be run at its next stop, whatever it does now

    // Of a call that has ended while its process comes home: the body that its reply would have had.
    struct TimeLeft { unsigned argument; uint64_t value; };    // with which it begins anew
    struct LateReply { uint32_t nr = 0; Bytes body; std::optional<TimeLeft> time_left; };
    std::optional<LateReply> late_reply;
    bool asked_to_leave_call = false;                      // at its next stop
    bool going_home = false;                               // behind the operations at hand
    std::optional<std::chrono::steady_clock::time_point> sleeps_until;     // of a sleep that began on the node

    bool active_for_guest() const { return active && !active->from.ours(); }
};

struct DeputyProcess {
    HomePid pid;
    std::string program;                      // for policy and stats
    bool away = false;                        // a guest of it exists on the node
    bool exec_in_progress = false;
    // It waits behind its execve until its guest is gone, to go on at home: see job_let_go.cc.
    std::optional<Judgement> staying;
    std::optional<user_regs_struct> fresh;    // at its exec; it is watched for its first call
    // Its image is on its way: calls that still come are of threads that the exec has ended, and get no answer.
    bool image_on_its_way = false;
    unsigned signals_on_their_way = 0;        // sent to the guest; the node hasn't yet said that it has them
    bool ending = false;                      // exit or a fatal signal has been let through
    bool guest_gone = false;
    bool kill_sent = false;
    bool stopped = false;                     // by job control: nothing is run for it (F5)
    HomeTid unborn_of;                        // whose clone made it, until that one's guest is told: not yet on the node
    bool identity_changed = false;            // its uid, capabilities or limits may differ from the supervisor's (F22)
    std::optional<SignalAction> trap_action;  // its guest's for SIGTRAP, if not the default one
    bool shares_descriptors = false;          // its table is another process's as well: nothing is remembered of it
    std::optional<rlimit> descriptor_limit;   // to be set again when its memfd has been made
    std::unique_ptr<SlotMemory> slots;
    UniqueFd pidfd;
    std::unordered_map<HomeTid, std::unique_ptr<DeputyThread>> threads;
    // Threads held at a fatal signal or at their exit until the node confirms that nothing of the guest runs.
    struct Held { HomeTid tid; int signal; };
    std::vector<Held> held;
    std::optional<std::string> end_line;      // what it will say when the node has ended its guest
    std::optional<std::string> last_words;    // with which it ends as soon as it is a deputy
    std::optional<uint64_t> mask_after_exec;  // blocked while the blob is put in place
    // A child of it that is being taken back, because the node could not make its half: see job_undo.cc.
    struct Undo {
        HomePid child;
        HomeTid caller;
        bool reaping = false;                              // the child has died; the caller's deputy is at work
        std::vector<std::pair<HomeTid, int>> stopped;      // threads that must not see it end, and their stops
    };
    std::optional<Undo> undo;
    HomePid undone_by;                        // it is that child
    // It is wanted at home for good, and then not to be traced any more: see job_asked_home.cc.
    bool wanted_home = false, to_be_let_go = false;
    // For people who ask where it is: since when, why, and how many calls have been made for it.
    std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
    std::string why;
    uint64_t calls = 0;
    void is_now(bool away_now, std::string reason) {
        away = away_now;
        why = std::move(reason);
        since = std::chrono::steady_clock::now();
    }
    std::unique_ptr<Homecoming> homecoming;
    std::unique_ptr<Borrowed> borrowed;       // it is home, and its parent waits in a vfork on the node
    std::vector<SlotOp> emptying;             // first operations of a process that was captured
};

}  // namespace omx
