#include "remote/call_sites.h"
#include "loader/blobs.h"
#include "loader/island/island.h"
#include "protocol/result.h"
#include <algorithm>

namespace omx {
namespace {

constexpr uint8_t kSyscall[] = {0x0f, 0x05};
// cmp $-4096, %rax and cmp $-4095, %rax
constexpr uint8_t kCompare[2][6] = {{0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff}, {0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff}};

// Instructions are not decoded: whatever bytes could be a jump to there count as one. That refuses a site too many at
// times, never one too few.
class Jumps {
public:
    Jumps(View code, uint64_t start, uint64_t site) : code_(code), start_(start), site_(site) {}
    bool any() const {
        for (size_t i = 0; i + 1 < code_.size(); i++) {
            auto first = byte(i), second = byte(i + 1);
            bool is_short = first == 0xeb || (first >= 0x70 && first <= 0x7f) || (first >= 0xe0 && first <= 0xe3);
            if (is_short && inside(i + 2 + static_cast<uint64_t>(int64_t{static_cast<int8_t>(second)}))) return true;
            if ((first == 0xe9 || first == 0xe8) && leads_inside(i + 1)) return true;
            if (first == 0x0f && second >= 0x80 && second <= 0x8f && leads_inside(i + 2)) return true;
        }
        return false;
    }

private:
    uint8_t byte(size_t i) const { return std::to_integer<uint8_t>(code_[i]); }
    bool inside(uint64_t target) const { return start_ + target > site_ && start_ + target < site_ + OMX_SITE_BYTES; }
    bool leads_inside(size_t distance_at) const {
        int32_t distance;
        if (distance_at + sizeof distance > code_.size()) return false;
        std::memcpy(&distance, code_.data() + distance_at, sizeof distance);
        return inside(distance_at + sizeof distance + static_cast<uint64_t>(int64_t{distance}));
    }

    View code_;
    uint64_t start_, site_;
};

// Machine code, piece by piece.
class Assembler {
public:
    explicit Assembler(uint64_t at) : at_(at) {}
    Assembler& bytes(std::initializer_list<uint8_t> list) {
        for (auto b : list) out_.push_back(std::byte{b});
        return *this;
    }
    Assembler& raw(View v) {
        out_.insert(out_.end(), v.begin(), v.end());
        return *this;
    }
    template <class T> Assembler& word(T v) { return raw(std::as_bytes(std::span(&v, 1))); }
    Assembler& address(uint64_t v) { return word(static_cast<uint32_t>(v)); }
    // From the end of the word that holds it.
    Assembler& distance(uint64_t to) { return word(static_cast<int32_t>(to - (here() + 4))); }
    Assembler& must_be_at(uint64_t offset) {
        OMX_CHECK(out_.size() == offset, "laying out a stub");
        return *this;
    }
    uint64_t here() const { return at_ + out_.size(); }
    Bytes take() { return std::move(out_); }

private:
    uint64_t at_;
    Bytes out_;
};

static_assert(OMX_SITES * OMX_STUB_BYTES <= OMX_DOORS - OMX_ISLAND_STUBS);
static_assert(OMX_SITES * OMX_DOOR_BYTES <= 256 && (OMX_DOORS & 0xffff) == 0xcc00);

}  // namespace

GuestAddr door_address(unsigned index) { return GuestAddr(OMX_DOORS + uint64_t{OMX_DOOR_BYTES} * index); }
GuestAddr stub_address(unsigned index) { return GuestAddr(OMX_ISLAND_STUBS + uint64_t{OMX_STUB_BYTES} * index); }

bool can_be_rewritten(View code, GuestAddr start, GuestAddr site) {
    if (site.value < start.value || site.value - start.value + OMX_SITE_BYTES > code.size()) return false;
    View at = code.subspan(site.value - start.value, OMX_SITE_BYTES);
    auto is = [&](View v, const auto& pattern) { return std::memcmp(v.data(), pattern, sizeof pattern) == 0; };
    if (!is(at, kSyscall)) return false;
    if (!is(at.subspan(2), kCompare[0]) && !is(at.subspan(2), kCompare[1])) return false;
    return !Jumps(code, start.value, site.value).any();
}

std::array<std::byte, 8> site_jump(unsigned index) {
    Bytes code = Assembler(0).bytes({0xb9}).address(door_address(index).value).bytes({0xff, 0xe1, 0x90}).take();
    std::array<std::byte, 8> jump{};
    std::ranges::copy(code, jump.begin());
    return jump;
}

Bytes site_door(unsigned index) {
    return Assembler(door_address(index).value).bytes({0xe9}).distance(stub_address(index).value).take();
}

Bytes site_stub(unsigned index, GuestAddr site, View original) {
    omx_island_entries entries{};
    std::memcpy(&entries, island_code().data(), sizeof entries);
    Assembler a(stub_address(index).value);
    a.bytes({0x83, 0x3c, 0x25}).address(OMX_LANE_ON).bytes({0});                        // cmpl $0, on
    a.bytes({0x74, OMX_STUB_CALL - 10});                                                // je   call
    a.bytes({0x48, 0x89, 0x24, 0x25}).address(OMX_LANE_SAVED_RSP);                      // mov  %rsp, saved_rsp
    a.bytes({0xc7, 0x04, 0x25}).address(OMX_LANE_SITE).word(index);                     // movl $index, site
    a.must_be_at(OMX_STUB_SAVED).bytes({0xbc}).address(OMX_ISLAND_STACK_TOP);           // mov  $top, %esp
    a.bytes({0xe8}).distance(entries.common);                                           // call common
    a.must_be_at(OMX_STUB_CALLED).bytes({0x48, 0x8b, 0x24, 0x25}).address(OMX_LANE_SAVED_RSP);
    a.bytes({0x72, OMX_STUB_DONE - OMX_STUB_CALL});                                     // jc   done
    a.must_be_at(OMX_STUB_CALL).bytes({0x0f, 0x05});                                    // call: syscall
    a.must_be_at(OMX_STUB_DONE).raw(original.subspan(2, 6));                            // done: cmp
    a.bytes({0xff, 0x25}).word(int32_t{0}).word(site.value + OMX_SITE_BYTES);           // jmp  *(behind)
    return a.take();
}

}  // namespace omx
