// A deputy process's slots as the supervisor sees them, and the arena that lays a call's buffers out in them.
// One memfd per process (S4), mapped shared by both: slots at offset 0, the big area at OMX_BIG_OFFSET.
#pragma once
#include <map>
#include <memory>
#include <vector>

#include "protocol/marshal.h"
#include "protocol/unique_fd.h"
#include "supervisor/slot.h"

namespace omx {

class SlotMemory {
public:
    static constexpr unsigned kMaxSlots = 4096;
    // Sizes the memfd and maps it. Slot 0 and one page of the big area are mapped by the blob itself.
    static Result<std::unique_ptr<SlotMemory>> make(UniqueFd memfd);
    ~SlotMemory();
    SlotMemory(const SlotMemory&) = delete;

    Slot& slot(unsigned index) { return *reinterpret_cast<Slot*>(base_ + size_t{index} * OMX_SLOT_BYTES); }
    std::byte* slot_data(unsigned index) { return base_ + size_t{index} * OMX_SLOT_BYTES + OMX_PAGE; }
    static DeputyAddr slot_address(unsigned index) {
        return DeputyAddr(OMX_SLOTS_BASE + uint64_t{index} * OMX_SLOT_BYTES);
    }

    // A free slot for a new thread; nullopt when there are none left.
    std::optional<unsigned> take_slot();
    void give_back(unsigned index);
    // Operations that make the deputy map all slots up to `index`, before a thread may use it. May be empty.
    std::vector<SlotOp> growth_for(unsigned index);

    // Room in the big area: whole pages at a time, given back when the call is over.
    struct Big {
        uint64_t offset = 0, bytes = 0;
        std::byte* ours = nullptr;
    };
    Big take_big(uint64_t bytes);
    void give_back(const Big&);
    std::vector<SlotOp> growth_for(const Big&);

private:
    SlotMemory(UniqueFd memfd, std::byte* base) : memfd_(std::move(memfd)), base_(base) {}
    UniqueFd memfd_;
    std::byte* base_;
    std::vector<bool> used_{true};
    unsigned slots_mapped_ = 1;              // in the deputy
    uint64_t big_mapped_ = OMX_PAGE;         // in the deputy
    uint64_t big_size_ = OMX_PAGE;           // in the memfd
    std::map<uint64_t, uint64_t> big_used_;  // offset -> bytes
    Big kept_{};  // mapping of the first pages, kept between calls: no page faults in a loop of big reads
};

// Lays out one call's buffers: in the slot's data area while they fit, else in the big area.
class SlotArena : public Arena {
public:
    SlotArena(SlotMemory&, unsigned slot);
    ~SlotArena() override;
    SlotArena(const SlotArena&) = delete;
    Piece allocate(size_t bytes, size_t alignment) override;
    Piece allocate_before_guard(size_t bytes) override;
    DeputyAddr bad_address() const override { return DeputyAddr(OMX_BIG_BASE - 0x100000); }

    // To be run before and after the guest's call.
    std::vector<SlotOp> before, after;

private:
    SlotMemory& memory_;
    unsigned slot_;
    size_t used_ = 0;        // of the slot's data area
    size_t chunk_used_ = 0;  // of the last of `bigs_`, if that is a chunk for many pieces
    bool chunk_open_ = false;
    std::vector<SlotMemory::Big> bigs_;

    SlotMemory::Big take(size_t bytes);
};

SlotOp op(uint32_t nr, std::array<uint64_t, 6> args, uint32_t flags = 0);

}  // namespace omx
