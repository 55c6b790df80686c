// A process on its way home, as the supervisor keeps it (job_home.cc).
#pragma once
#include <chrono>
#include <deque>
#include <functional>

#include <memory>
#include <unordered_map>

#include "loader/image.h"
#include "loader/page_source.h"
#include "supervisor/slots.h"

namespace omx {

// Memory that the child of a vfork has borrowed: what was in it when it came home (job_borrowed.cc).
struct Borrowed {
    std::vector<PageRange> ranges;
    std::unordered_map<uint64_t, size_t> pages;  // address to hash
};

struct Homecoming {
    enum class Step {
        announced,  // its guest stands still; replies and signals stay here
        mapping,    // a thread of the deputy makes room for its memory
        filling,    // the pages come
        threads,    // memory is whole, the node has nothing more: one thread after the other goes back to its own code
    };
    Step step = Step::announced;
    std::string reason, call;
    Bytes body;                          // what the image's views point into
    std::optional<Image> image;
    std::vector<PendingSignal> signals;  // that came here meanwhile
    // What the leading thread still has to do: each gives operations, all of which must succeed.
    HomeTid lead;
    std::deque<std::function<Result<std::vector<SlotOp>>()>> work;
    std::vector<uint32_t> whole;         // files that can't be mapped here: their pages travel
    UniqueFd memory;                     // /proc/PID/mem
    std::unique_ptr<Borrowed> borrowed;  // none: it is its own
    bool opened = false;                 // it has closed itself to us (PR_SET_DUMPABLE, 0), and will be again
    UniqueFd files_to;                   // over which the deputy gets descriptors; its own end is number `files_at`
    int files_at = -1;
    std::vector<UniqueFd> readers;       // of files that are mapped for reading only: such a mapping stays so
    int64_t monotonic = 0;               // what its clock showed last: it goes on when ours shows that
    bool all_here = false;               // its memory
    std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
    uint64_t bytes = 0;                  // of its memory that have come
    uint64_t vdso_at = 0;                // where the machine's own vDSO has gone

    ThreadState* state_of(HomeTid tid) {
        for (auto& t : image->threads)
            if (t.tid == tid) return &t;
        return nullptr;
    }
};

}  // namespace omx
