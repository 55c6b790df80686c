#include "supervisor/slots.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>

namespace omx {

namespace {
constexpr size_t kSlotDataBytes = OMX_SLOT_BYTES - OMX_PAGE;
constexpr uint64_t kKeptBigBytes = 4 << 20;
uint64_t round_to_pages(uint64_t n) { return (n + OMX_PAGE - 1) & ~uint64_t{OMX_PAGE - 1}; }
}  // namespace

SlotOp op(uint32_t nr, std::array<uint64_t, 6> args, uint32_t flags) { return SlotOp{nr, flags, args, 0}; }

Result<std::unique_ptr<SlotMemory>> SlotMemory::make(UniqueFd memfd) {
    if (ftruncate(memfd.get(), OMX_BIG_OFFSET + OMX_PAGE) != 0)
        return fail_errno("can't size a deputy's slots (does a file size limit, ulimit -f, forbid it?)");
    void* p = mmap(nullptr, size_t{kMaxSlots} * OMX_SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                   memfd.get(), 0);
    if (p == MAP_FAILED) return fail_errno("can't map a deputy's slots");
    return std::unique_ptr<SlotMemory>(new SlotMemory(std::move(memfd), static_cast<std::byte*>(p)));
}

SlotMemory::~SlotMemory() {
    munmap(base_, size_t{kMaxSlots} * OMX_SLOT_BYTES);
    if (kept_.ours) munmap(kept_.ours, kept_.bytes);
}

std::optional<unsigned> SlotMemory::take_slot() {
    auto free = std::find(used_.begin(), used_.end(), false);
    auto index = static_cast<unsigned>(free - used_.begin());
    if (index >= kMaxSlots) return std::nullopt;
    if (free == used_.end())
        used_.push_back(true);
    else
        *free = true;
    std::memset(static_cast<void*>(&slot(index)), 0, OMX_OPS);
    return index;
}

void SlotMemory::give_back(unsigned index) { used_.at(index) = false; }

std::vector<SlotOp> SlotMemory::growth_for(unsigned index) {
    if (index < slots_mapped_) return {};
    unsigned wanted = std::min(kMaxSlots, std::max(index + 1, slots_mapped_ * 2));
    auto grow =
        op(SYS_mremap,
           {OMX_SLOTS_BASE, uint64_t{slots_mapped_} * OMX_SLOT_BYTES, uint64_t{wanted} * OMX_SLOT_BYTES, 0, 0, 0},
           OMX_OP_STOP_ON_ERROR);
    slots_mapped_ = wanted;
    return {grow};
}

SlotMemory::Big SlotMemory::take_big(uint64_t bytes) {
    bytes = round_to_pages(bytes);
    uint64_t offset = big_used_.empty() ? 0 : big_used_.rbegin()->first + big_used_.rbegin()->second;
    if (offset + bytes > big_size_) {
        big_size_ = offset + bytes;
        if (ftruncate(memfd_.get(), static_cast<off_t>(OMX_BIG_OFFSET + big_size_)) != 0) return {};
    }
    if (!kept_.ours && offset == 0 && bytes <= kKeptBigBytes) {
        void* p = mmap(nullptr, kKeptBigBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd_.get(), OMX_BIG_OFFSET);
        if (p != MAP_FAILED) kept_ = {0, kKeptBigBytes, static_cast<std::byte*>(p)};
    }
    Big big{offset, bytes, nullptr};
    if (kept_.ours && offset + bytes <= kept_.bytes) {
        big.ours = kept_.ours + offset;
    } else {
        void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd_.get(),
                       static_cast<off_t>(OMX_BIG_OFFSET + offset));
        if (p == MAP_FAILED) return {};
        big.ours = static_cast<std::byte*>(p);
    }
    big_used_[offset] = bytes;
    return big;
}

void SlotMemory::give_back(const Big& big) {
    big_used_.erase(big.offset);
    if (kept_.ours && big.ours >= kept_.ours && big.ours < kept_.ours + kept_.bytes) return;
    munmap(big.ours, big.bytes);
    // What one huge call needed must not stay with an idle guest.
    fallocate(memfd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(OMX_BIG_OFFSET + big.offset),
              static_cast<off_t>(big.bytes));
}

std::vector<SlotOp> SlotMemory::growth_for(const Big& big) {
    uint64_t end = big.offset + big.bytes;
    if (end <= big_mapped_) return {};
    auto grow = op(SYS_mremap, {OMX_BIG_BASE, big_mapped_, end, 0, 0, 0}, OMX_OP_STOP_ON_ERROR);
    big_mapped_ = end;
    return {grow};
}

SlotArena::SlotArena(SlotMemory& memory, unsigned slot) : memory_(memory), slot_(slot) {}
SlotArena::~SlotArena() {
    for (auto& b : bigs_) memory_.give_back(b);
}

SlotMemory::Big SlotArena::take(size_t bytes) {
    auto big = memory_.take_big(bytes);
    if (!big.ours) return big;
    // One growth covers all of them, whatever their order: only the last matters.
    auto growth = memory_.growth_for(big);
    before.insert(before.end(), growth.begin(), growth.end());
    bigs_.push_back(big);
    chunk_open_ = false;
    return big;
}

Arena::Piece SlotArena::allocate(size_t bytes, size_t alignment) {
    auto round_up = [&](size_t n) { return (n + alignment - 1) / alignment * alignment; };
    if (size_t at = round_up(used_); at + bytes <= kSlotDataBytes) {
        used_ = at + bytes;
        return {memory_.slot_data(slot_) + at, SlotMemory::slot_address(slot_) + OMX_PAGE + at};
    }
    // Many small pieces (a huge argument list) share chunks; each chunk costs an operation, so they double.
    if (!chunk_open_ || round_up(chunk_used_) + bytes > bigs_.back().bytes) {
        size_t chunk = std::max(bytes, chunk_open_ ? 2 * bigs_.back().bytes : 0);
        if (bytes < kSlotDataBytes) chunk = std::max<size_t>(chunk, 4 * kSlotDataBytes);
        if (!take(chunk).ours) return {};
        chunk_used_ = 0;
        chunk_open_ = true;
    }
    size_t at = round_up(chunk_used_);
    chunk_used_ = at + bytes;
    return {bigs_.back().ours + at, DeputyAddr(OMX_BIG_BASE + bigs_.back().offset + at)};
}

Arena::Piece SlotArena::allocate_before_guard(size_t bytes) {
    uint64_t pages = round_to_pages(bytes);
    auto big = take(pages + OMX_PAGE);
    if (!big.ours) return {};
    uint64_t guard = OMX_BIG_BASE + big.offset + pages;
    before.push_back(op(SYS_mprotect, {guard, OMX_PAGE, PROT_NONE, 0, 0, 0}, OMX_OP_STOP_ON_ERROR));
    after.push_back(op(SYS_mprotect, {guard, OMX_PAGE, PROT_READ | PROT_WRITE, 0, 0, 0}, OMX_OP_ALWAYS));
    return {big.ours + (pages - bytes), DeputyAddr(guard - bytes)};
}

}  // namespace omx
