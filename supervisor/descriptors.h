// What the supervisor knows of the deputies' descriptors, so that a call that it runs itself costs that call alone
// (pidfd_getfd, fstat and close are 3 µs): of which kind they are, and copies of a few.
//
// A copy must never outlive the deputy's own descriptor: readers of a pipe would not see its end, a lock would not
// fall, a file just written could not be executed. So one is kept only while nothing of its process runs: all of them are
// closed before a deputy of the process is posted anything, when one of its threads is about to end, and at exec.
//
// A kind may live longer: across calls that can't make a number stand for another file.
#pragma once
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "protocol/types.h"
#include "protocol/unique_fd.h"
#include "supervisor/direct.h"
#include "supervisor/slot.h"

namespace omx {

class KnownDescriptors {
public:
    static constexpr size_t kCopiesOfProcess = 4, kCopies = 32;

    std::optional<DescriptorKind> kind(HomePid, int number) const;
    // Only while no deputy of the process makes a call for which before() was true.
    void note(HomePid, int number, DescriptorKind);
    int copy(HomePid, int number);  // -1: none is kept
    // Only while no deputy of the process makes any call.
    void keep(HomePid, int number, UniqueFd copy);

    // These are about to be run by a deputy of the process. True if they may change what its numbers stand for.
    bool before(HomePid, std::span<const SlotOp>);
    void drop_copies(HomePid);
    void forget(HomePid);
    size_t copies() const { return copies_.size(); }

private:
    struct Copy {
        HomePid process;
        int number;
        UniqueFd fd;
        uint64_t used;  // the least is the oldest
    };
    void make_room(HomePid);

    std::vector<Copy> copies_;
    uint64_t uses_ = 0;
    std::unordered_map<HomePid, std::unordered_map<int, DescriptorKind>> kinds_;
};

}  // namespace omx
