// The image of a stopped process: the unit that travels. Description only; contents of memory that is the process's
// own are in it, contents of files are named by FileKey and fetched or found in the node's cache.
#pragma once
#include "protocol/frames.h"
#include <sys/user.h>

namespace omx {

enum class RegionKind : uint8_t {
    anonymous,        // private anonymous memory
    file,             // MAP_PRIVATE of a regular file
    stack,            // the main thread's growing stack
    vdso,             // where home has its vDSO: ours goes there
    shared_anonymous, // its "file" says which memory: see loader/guest_capture.h
    shared_file,      // read-only MAP_SHARED of a file that can't change unseen
};

// What a mapping is besides, by bits: advice, locks, how it was made.
namespace trait {
constexpr uint32_t dont_fork = 1, wipe_on_fork = 2, huge_pages = 4, no_huge_pages = 8, mergeable = 16, dont_dump = 32,
                   locked = 64, locked_on_fault = 128, grows_down = 256, no_reserve = 512, sequential = 1024,
                   random = 2048, sealed = 4096, never_written = 8192, all = 16383;
}

struct Region {
    uint64_t start = 0, end = 0;        // page aligned, in the guest's address space
    uint32_t prot = 0;                  // PROT_* bits
    RegionKind kind = RegionKind::anonymous;
    int32_t file = -1;                  // index into Image::files when kind is of a file
    uint64_t file_offset = 0;           // bytes
    uint32_t traits = 0;                // of trait::; only in an image that comes home
};

// Bytes that differ from what the region would hold by itself (zeroes, or the file's content). Page-wise, but a run
// may start and end within a page where the rest is as it would be.
struct Content {
    uint64_t address = 0;
    View data;                          // into the encoded image when decoded, else into Image::storage
};

// What PR_SET_MM_MAP restores (prctl(2)); read from /proc/PID/stat and the auxv.
struct MmFields {
    uint64_t start_code = 0, end_code = 0, start_data = 0, end_data = 0, start_brk = 0, brk = 0, start_stack = 0;
    uint64_t arg_start = 0, arg_end = 0, env_start = 0, env_end = 0;
};

struct ThreadState {
    HomeTid tid;
    user_regs_struct regs{};            // rip, rsp, fs_base … as they must be when the guest goes on
    Bytes xstate;                       // NT_X86_XSTATE, empty: as after exec
    uint64_t blocked = 0;               // signal mask
    uint64_t altstack_sp = 0, altstack_size = 0; int32_t altstack_flags = 2 /* SS_DISABLE */;
    uint64_t robust_list = 0, robust_list_size = 0, clear_child_tid = 0, rseq = 0;
    uint32_t rseq_size = 0, rseq_signature = 0;
    Scheduling scheduling;              // as home's kernel has it; not told on the way home, where it still is so
    // The frame of a call that home is making for the thread, and goes on making: the registers show it as interrupted.
    uint64_t call = 0;
    // A relative sleep that it is in: what is left, and where that is to be written if a signal ends it (0: nowhere).
    uint64_t sleep_ns = 0, sleep_rest = 0;
};

// A signal that had not reached its process yet. tid 0: any of its threads may take it.
struct PendingSignal { HomeTid tid; siginfo_t info; };

// A timer that counts the process's CPU time and is set, or its limit of CPU time, which acts like one.
struct CpuTimerState {
    enum class Kind : uint8_t {
        posix,              // of timer_create: `number` is its id
        interval,           // of setitimer: ITIMER_VIRTUAL, ITIMER_PROF
        limit,              // RLIMIT_CPU: the signal that it raises
    };
    Kind kind = Kind::posix;
    int32_t number = 0;
    uint64_t left_ns = 0, interval_ns = 0;
};

struct SignalAction { uint64_t handler = 0, flags = 0, restorer = 0, mask = 0; };

// Those that the node's kernel has to keep.
struct NodeLimits { uint64_t as_soft, as_hard, data_soft, data_hard, stack_soft, stack_hard, cpu_soft, cpu_hard; };

struct Image {
    HomePid pid;
    std::vector<ThreadState> threads;        // leader first, if it hasn't ended before the others
    std::vector<Region> regions;             // ascending, without overlap
    std::vector<FileKey> files;
    std::vector<Content> contents;
    MmFields mm;
    Bytes auxv;                              // as in /proc/PID/auxv
    std::array<SignalAction, 64> actions{};  // handler 0 default, 1 ignored; [signo - 1]
    NodeLimits limits{};
    uint32_t personality = 0;
    uint8_t borrows = 0;                     // 1: its memory is its parent's, which waits in a vfork
    uint32_t locks_future = 0;               // as given to mlockall: what will be mapped is locked
    uint32_t kernel_version = 0;             // home's LINUX_VERSION_CODE, for the note in our vDSO; 0: not known
    std::string name;                        // comm, at most 15 bytes
    std::vector<PendingSignal> pending;
    std::vector<CpuTimerState> cpu_timers;
    Bytes storage;                           // backs `contents` on the capturing side

    void encode(Writer&) const;
    // Checks everything a node must not trust: alignment, order, overlap, user range, indices, sizes.
    // The views in `contents` point into `body`.
    static Result<Image> decode(View body);
};

}  // namespace omx
