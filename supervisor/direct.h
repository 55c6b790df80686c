// Calls that the supervisor runs itself on a copy of the deputy's descriptor: whoever reads the link runs the call, so
// that no other process has to be woken. Only where nobody can tell who called (a white list), and only when the call
// can't wait; everything else is the deputy's.
//
// How long a copy may live: supervisor/descriptors.h. Non-blocking attempts use RWF_NOWAIT, never O_NONBLOCK, which
// belongs to the open file and would show in the deputy.
#pragma once
#include <memory>
#include <optional>

#include "protocol/marshal.h"

namespace omx {

// Lays buffers out in our own memory. Anything unusual (a guard page is needed) makes the call the deputy's.
class OwnArena : public Arena {
public:
    OwnArena();
    ~OwnArena() override;
    Piece allocate(size_t bytes, size_t alignment) override;
    Piece allocate_before_guard(size_t) override {
        unusual = true;
        return {};
    }
    DeputyAddr bad_address() const override { return DeputyAddr(0x1000); }
    // We make the call before the frame goes, and the kernel only reads there.
    Piece adopt(View v) override {
        return {const_cast<std::byte*>(v.data()), DeputyAddr(reinterpret_cast<uint64_t>(v.data()))};
    }
    void reset();
    bool unusual = false;

private:
    static constexpr size_t kKept = 4 << 20;
    std::byte* kept_;
    size_t used_ = 0;
    std::vector<std::pair<void*, size_t>> more_;
};

// Whether such a call may be worth a look at its descriptor (args[0]) at all.
bool may_run_directly(uint32_t nr, const CallArgs&);
// What is behind a descriptor, as far as running calls on it goes.
// `proc`: a file of /proc, which may be about a process that is away (job_proc.cc).
enum class DescriptorKind : uint8_t { regular, proc, harmless_device, pipe, other };
DescriptorKind kind_of(int fd);
// Runs it on `fd`, a copy. nullopt: the deputy must run it; nothing has happened.
std::optional<int64_t> run_directly(const HomeCall&, int fd, DescriptorKind);

}  // namespace omx
