#include "loader/signal_frame.h"

namespace omx {
namespace {

// struct ucontext of the kernel, x86-64 (arch/x86/include/uapi/asm/ucontext.h and sigcontext.h there).
struct UserContext {
    uint64_t flags, link;
    uint64_t altstack_sp;
    int32_t altstack_flags, padding;
    uint64_t altstack_size;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
    uint64_t segments;                      // cs, gs, fs, ss; 16 bits each
    uint64_t error, trap, old_mask, cr2;
    uint64_t fpstate;                       // 0: the kernel resets vectors and x87 to their initial state
    uint64_t reserved[8];
    uint64_t mask;
};
static_assert(sizeof(UserContext) == 304);

constexpr uint64_t kHasXstate = 1, kSavedSs = 2, kStrictSs = 4;
constexpr uint64_t kUserSegments = 0x33 | 0x2bull << 48;
constexpr uint64_t kTrapFlag = 0x100;       // a debugger's single step, never the program's

// What the kernel wants to see in and behind the extended state before it believes that it is one.
struct SoftwareBytes { uint32_t magic1, extended_bytes; uint64_t features; uint32_t xstate_bytes; };
constexpr uint32_t kMagic1 = 0x46505853, kMagic2 = 0x46505845;
constexpr size_t kSoftwareAt = 464;

UserContext context_of(const ThreadState& t) {
    const auto& g = t.regs;
    return {.flags = kSavedSs | kStrictSs, .link = 0,
            .altstack_sp = t.altstack_sp, .altstack_flags = t.altstack_flags, .padding = 0,
            .altstack_size = t.altstack_size,
            .r8 = g.r8, .r9 = g.r9, .r10 = g.r10, .r11 = g.r11, .r12 = g.r12, .r13 = g.r13, .r14 = g.r14, .r15 = g.r15,
            .rdi = g.rdi, .rsi = g.rsi, .rbp = g.rbp, .rbx = g.rbx, .rdx = g.rdx, .rax = g.rax, .rcx = g.rcx,
            .rsp = g.rsp, .rip = g.rip, .eflags = g.eflags & ~kTrapFlag, .segments = kUserSegments,
            .error = 0, .trap = 0, .old_mask = 0, .cr2 = 0, .fpstate = 0, .reserved = {}, .mask = t.blocked};
}

// ptrace's layout is the frame's; the kernel put XCR0's features where the software bytes begin.
void add_xstate(Bytes& frame, size_t at, const Bytes& xstate) {
    uint64_t features;
    std::memcpy(&features, xstate.data() + kSoftwareAt, sizeof features);
    auto bytes = static_cast<uint32_t>(xstate.size());
    frame.resize(at + bytes + sizeof kMagic2);
    std::memcpy(frame.data() + at, xstate.data(), bytes);
    SoftwareBytes software{kMagic1, static_cast<uint32_t>(bytes + sizeof kMagic2), features, bytes};
    std::memcpy(frame.data() + at + kSoftwareAt, &software, 20);        // without the padding at the struct's end
    std::memcpy(frame.data() + at + bytes, &kMagic2, sizeof kMagic2);
}

}  // namespace

Bytes signal_frame(const ThreadState& t, uint64_t address) {
    UserContext context = context_of(t);
    size_t xstate_at = (sizeof context + 63) & ~size_t{63};
    if (!t.xstate.empty()) {
        context.flags |= kHasXstate;
        context.fpstate = address + xstate_at;
    }
    Bytes frame(sizeof context);
    std::memcpy(frame.data(), &context, sizeof context);
    if (!t.xstate.empty()) add_xstate(frame, xstate_at, t.xstate);
    return frame;
}

}  // namespace omx
