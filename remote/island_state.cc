#include "remote/island_state.h"
#include "loader/blobs.h"
#include "protocol/result.h"
#include <cstring>
#include <sys/syscall.h>

namespace omx {
namespace {

constexpr int64_t kFirstErrno = -4095;

const omx_island_entries& entries() {
    static const auto e = [] {
        omx_island_entries read{};
        std::memcpy(&read, island_code().data(), sizeof read);
        return read;
    }();
    return e;
}

bool in_code(uint64_t rip) { return rip >= OMX_ISLAND_CODE && rip < OMX_ISLAND_CODE + OMX_ISLAND_CODE_BYTES; }
bool in_stubs(uint64_t rip) {
    return rip >= OMX_ISLAND_STUBS && rip < OMX_ISLAND_STUBS + uint64_t{OMX_SITES} * OMX_STUB_BYTES;
}
uint64_t stub_offset(uint64_t rip) { return (rip - OMX_ISLAND_STUBS) % OMX_STUB_BYTES; }
uint64_t stub_of(const user_regs_struct& r, const omx_lane& lane) {
    if (in_stubs(r.rip)) return r.rip - stub_offset(r.rip);
    return OMX_ISLAND_STUBS + uint64_t{lane.site} * OMX_STUB_BYTES;
}

// Not begun in earnest: no register but rsp has changed.
bool untouched(const user_regs_struct& r) {
    if (in_stubs(r.rip)) return stub_offset(r.rip) < OMX_STUB_CALLED;
    return r.rip >= entries().common && r.rip < entries().framed;
}

// The sending call has done its work, though the phase doesn't say so yet.
bool just_sent(const user_regs_struct& r) {
    bool interrupted = static_cast<int64_t>(r.orig_rax) >= 0 && static_cast<int64_t>(r.rax) < 0;
    bool at = r.rip >= entries().sent && r.rip < entries().unsent;
    return at && !interrupted && static_cast<int64_t>(r.rax) > 0;
}

user_regs_struct with_frame(user_regs_struct r, const omx_lane_frame& f) {
    r.rdi = f.rdi, r.rsi = f.rsi, r.rdx = f.rdx, r.r10 = f.r10, r.r8 = f.r8, r.r9 = f.r9;
    r.rbx = f.rbx, r.rbp = f.rbp, r.r12 = f.r12, r.r13 = f.r13, r.r14 = f.r14, r.r15 = f.r15;
    return r;
}

// On the guest's own stack, in no call of the kernel's.
user_regs_struct off_island(user_regs_struct r, const omx_lane& lane) {
    r.rsp = lane.saved_rsp;
    r.orig_rax = ~uint64_t{0};
    return r;
}

}  // namespace

unsigned stub_index(const user_regs_struct& r, const omx_lane& lane) {
    return static_cast<unsigned>((stub_of(r, lane) - OMX_ISLAND_STUBS) / OMX_STUB_BYTES);
}

bool in_island(const user_regs_struct& r) { return in_code(r.rip) || in_stubs(r.rip); }

const char* name(IslandMove move) {
    switch (move) {
        case IslandMove::none: return "none";
        case IslandMove::roll_back: return "rolls back";
        case IslandMove::wait: return "waits";
        case IslandMove::finish: return "finishes";
    }
    return "";
}

IslandMove island_move(const user_regs_struct& r, const omx_lane& lane) {
    if (!in_island(r)) return IslandMove::none;
    if (untouched(r)) return IslandMove::roll_back;
    if (in_stubs(r.rip)) {
        auto at = stub_offset(r.rip);
        if (at >= OMX_STUB_DONE) return IslandMove::none;
        // The way by notification, with every register as it was.
        if (at == OMX_STUB_CALL || lane.phase == OMX_PHASE_BEFORE) return IslandMove::roll_back;
        return IslandMove::finish;
    }
    if (lane.phase == OMX_PHASE_BEFORE) return just_sent(r) ? IslandMove::wait : IslandMove::roll_back;
    bool tail = r.rip >= entries().tail && r.rip < entries().tail_end;
    return lane.phase == OMX_PHASE_ANSWERED && tail ? IslandMove::finish : IslandMove::wait;
}

bool needs_frame(const user_regs_struct& r) {
    return !untouched(r) && !(in_stubs(r.rip) && stub_offset(r.rip) == OMX_STUB_CALL);
}

user_regs_struct before_call(const user_regs_struct& r, const omx_lane& lane, const omx_lane_frame* frame,
                             uint64_t site) {
    auto to = r;
    if (frame && needs_frame(r)) {
        to = with_frame(r, *frame);
        to.rax = frame->rax;
    }
    uint64_t at = stub_offset(r.rip);
    bool on_its_own_stack = in_stubs(r.rip) && (at <= OMX_STUB_SAVED || at == OMX_STUB_CALL);
    if (!on_its_own_stack) to.rsp = lane.saved_rsp;
    to.orig_rax = ~uint64_t{0};
    to.rip = site;
    return to;
}

user_regs_struct behind_call(const user_regs_struct& r, const omx_lane& lane, const omx_lane_frame* frame,
                             int64_t result) {
    auto to = off_island(frame ? with_frame(r, *frame) : r, lane);
    to.rax = static_cast<uint64_t>(result);
    to.rip = stub_of(r, lane) + OMX_STUB_DONE;
    return to;
}

user_regs_struct interrupted_call(const user_regs_struct& r, const omx_lane& lane, const omx_lane_frame& frame) {
    OMX_CHECK(lane.restart != 0 && -int64_t{lane.restart} > kFirstErrno, "a restart class");
    auto to = behind_call(r, lane, &frame, -int64_t{lane.restart});
    to.orig_rax = frame.rax;
    return to;
}

user_regs_struct call_by_notification(const user_regs_struct& r, const omx_lane& lane, const omx_lane_frame& frame) {
    auto to = off_island(with_frame(r, frame), lane);
    to.rax = frame.rax;
    to.rip = stub_of(r, lane) + OMX_STUB_CALL;
    return to;
}

}  // namespace omx
