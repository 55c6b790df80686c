#include "loader/image_check.h"
#include <csignal>
#include <elf.h>
#include <limits>
#include <sys/mman.h>
#include <sys/time.h>

namespace omx {
namespace {

constexpr uint64_t kMostNs = std::numeric_limits<int64_t>::max() / 2;      // a clock's present may be added

bool user_address(uint64_t a) { return a >= kUserStart && a < kUserEnd; }
bool zero_or_user(uint64_t a) { return a == 0 || user_address(a); }
bool aligned(uint64_t a) { return a % kPage == 0; }

std::unexpected<Error> bad(const Region& g, std::string_view what) {
    return fail(fmt::format("image: region {:x}-{:x}: {}", g.start, g.end, what));
}

Status check_region(const Image& i, const Region& g) {
    if (!aligned(g.start) || !aligned(g.end)) return bad(g, "not page aligned");
    if (g.start >= g.end || g.start < kPage || g.end > kUserEnd) return bad(g, "not within user memory");
    if (g.prot & ~uint32_t{PROT_READ | PROT_WRITE | PROT_EXEC}) return bad(g, "unknown protection");
    if (g.kind > RegionKind::shared_file) return bad(g, "unknown kind");
    if (g.traits & ~trait::all) return bad(g, "unknown traits");
    bool of_file = g.kind == RegionKind::file || g.kind >= RegionKind::shared_anonymous;
    if (of_file ? g.file < 0 || static_cast<size_t>(g.file) >= i.files.size() : g.file != -1)
        return bad(g, "file index out of range");
    if (!aligned(g.file_offset) || g.file_offset > INT64_MAX - (g.end - g.start)) return bad(g, "bad file offset");
    if (!of_file && g.file_offset) return bad(g, "an offset without a file");
    if (g.kind == RegionKind::vdso && g.end - g.start > kMaxVdsoBytes) return bad(g, "too large for a vDSO");
    return {};
}

Status check_regions(const Image& i) {
    if (i.regions.size() > kMaxRegions || i.files.size() > kMaxFiles) return fail("image: too many regions or files");
    uint64_t end = 0;
    size_t stacks = 0, vdsos = 0;
    for (const auto& g : i.regions) {
        OMX_TRY(check_region(i, g));
        if (g.start < end) return bad(g, "overlaps the one before or is out of order");
        end = g.end;
        stacks += g.kind == RegionKind::stack;
        vdsos += g.kind == RegionKind::vdso;
    }
    if (stacks > 1 || vdsos > 1) return fail("image: more than one stack or vDSO");
    return {};
}

// Both lists ascend, so one walk finds every content's region.
Status check_contents(const Image& i) {
    if (i.contents.size() > kMaxContents) return fail("image: too many contents");
    uint64_t end = 0;
    size_t at = 0;
    for (const auto& c : i.contents) {
        while (at < i.regions.size() && i.regions[at].end <= c.address) at++;
        bool inside = at < i.regions.size() && c.address >= i.regions[at].start &&
                      c.data.size() <= i.regions[at].end - c.address;
        if (!inside || c.data.empty() || c.address < end || i.regions[at].kind == RegionKind::vdso)
            return fail(fmt::format("image: content of {} bytes at {:x} is in no region of its own", c.data.size(),
                                    c.address));
        end = c.address + c.data.size();
    }
    return {};
}

// XSTATE as ptrace gives it: the legacy area, the header, and whole 8-byte words behind.
bool good_xstate(const Bytes& x) { return x.empty() || (x.size() >= 576 && x.size() <= 16384 && x.size() % 8 == 0); }

Status check_thread(const ThreadState& t) {
    if (t.tid.value <= 0) return fail("image: bad thread number");
    auto where = [&](std::string_view what) { return fail(fmt::format("image: thread {}: {}", t.tid.value, what)); };
    if (!user_address(t.regs.rip) || !user_address(t.regs.rsp)) return where("registers point outside user memory");
    if (!zero_or_user(t.regs.fs_base) || !zero_or_user(t.regs.gs_base)) return where("bad segment base");
    if (!good_xstate(t.xstate)) return where("bad size of the extended state");
    for (uint64_t a : {t.altstack_sp, t.robust_list, t.clear_child_tid, t.rseq, t.sleep_rest})
        if (!zero_or_user(a)) return where("an address outside user memory");
    if (t.altstack_size > kUserEnd - t.altstack_sp) return where("bad alternate stack");
    if (t.sleep_ns > kMostNs) return where("a sleep without end");
    if (!t.scheduling.sound()) return where("it is scheduled as no kernel does");
    if (t.rseq && (t.rseq_size < 32 || t.rseq_size > 4096)) return where("bad size of the rseq area");
    return {};
}

Status check_threads(const Image& i) {
    if (i.threads.empty() || i.threads.size() > kMaxThreads) return fail("image: no thread, or too many");
    if (i.pid.value <= 0) return fail("image: bad process number");
    for (const auto& t : i.threads) OMX_TRY(check_thread(t));
    for (const auto& s : i.pending)
        if (s.tid.value < 0 || s.info.si_signo < 1 || s.info.si_signo > 64) return fail("image: bad pending signal");
    return {};
}

// The conditions of PR_SET_MM_MAP, so that it can't fail later, in the middle of a restore.
Status check_mm(const MmFields& m) {
    for (uint64_t a : {m.start_code, m.end_code, m.start_data, m.end_data, m.start_brk, m.brk, m.start_stack,
                       m.arg_start, m.arg_end, m.env_start, m.env_end})
        if (!user_address(a)) return fail(fmt::format("image: memory layout: {:x} is no user address", a));
    if (m.start_code >= m.end_code || m.start_data > m.end_data || m.start_brk > m.brk || m.arg_start > m.arg_end ||
        m.env_start > m.env_end)
        return fail("image: memory layout: an end before its start");
    return {};
}

Status check_auxv(const Bytes& auxv) {
    constexpr size_t entry = sizeof(Elf64_auxv_t), most = 64;
    if (auxv.empty() || auxv.size() % entry || auxv.size() > most * entry) return fail("image: bad size of the auxv");
    Elf64_auxv_t last;
    std::memcpy(&last, auxv.data() + auxv.size() - entry, entry);
    if (last.a_type != AT_NULL) return fail("image: the auxv has no end");
    return {};
}

bool good_action(const SignalAction& a) { return a.handler <= 1 || user_address(a.handler); }

bool good_timer(const CpuTimerState& t) {
    if (!t.left_ns || t.left_ns > kMostNs || t.interval_ns > kMostNs || t.number < 0) return false;
    switch (t.kind) {
        case CpuTimerState::Kind::posix: return true;
        case CpuTimerState::Kind::interval: return t.number == ITIMER_VIRTUAL || t.number == ITIMER_PROF;
        case CpuTimerState::Kind::limit: return t.number == SIGXCPU || t.number == SIGKILL;
    }
    return false;
}

Status check_rest(const Image& i) {
    if (i.name.size() > 15 || i.name.find('\0') != std::string::npos) return fail("image: bad name");
    if (i.borrows > 1) return fail("image: memory borrowed in a way unknown");
    const auto& l = i.limits;
    if (l.as_soft > l.as_hard || l.data_soft > l.data_hard || l.stack_soft > l.stack_hard)
        return fail("image: a soft limit above its hard limit");
    for (const auto& t : i.cpu_timers)
        if (!good_timer(t)) return fail("image: bad timer of CPU time");
    for (const auto& a : i.actions)
        if (!good_action(a) || !zero_or_user(a.restorer)) return fail("image: bad signal action");
    return {};
}

}  // namespace

Status check_image(const Image& i) {
    OMX_TRY(check_regions(i));
    OMX_TRY(check_contents(i));
    OMX_TRY(check_threads(i));
    OMX_TRY(check_mm(i.mm));
    OMX_TRY(check_auxv(i.auxv));
    return check_rest(i);
}

}  // namespace omx
