#include "loader/restore.h"
#include "loader/address_gaps.h"
#include "loader/blobs.h"
#include "loader/image_check.h"
#include "loader/island/island.h"
#include "loader/node_vdso.h"
#include "loader/plan_writer.h"
#include "loader/signal_frame.h"
#include "loader/stub/clock_page.h"
#include "loader/vdso_symbols.h"
#include <algorithm>
#include <asm/prctl.h>
#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static_assert(OMX_STUB_WANTS_PLAN == omx::kStubWantsPlan && OMX_STUB_READY == omx::kStubReady);
static_assert(OMX_PLAN_FD == omx::kPlanFd && OMX_USER_END == omx::kUserEnd && OMX_PLAN_PAGE == omx::kPage);
static_assert(sizeof(omx::SignalAction) == 32, "has the kernel's layout: handler, flags, restorer, mask");

namespace omx {
namespace {

constexpr uint64_t kGiB = 1ull << 30;

// The runner's last steps, in a page that stays: munmap(rdi, rsi) takes the plan away, rt_sigreturn goes to the guest.
constexpr unsigned char kLandingCode[] = {
    0xb8, 0x0b, 0, 0, 0,        // mov $munmap, %eax
    0x0f, 0x05,                 // syscall
    0x48, 0x89, 0xd4,           // mov %rdx, %rsp
    0xb8, 0x0f, 0, 0, 0,        // mov $rt_sigreturn, %eax
    0x0f, 0x05,                 // syscall
    0xf4,                       // hlt
};
constexpr uint64_t kSystemCallAt = 5, kFrameAt = 64;

uint64_t page_up(uint64_t n) { return (n + kPage - 1) / kPage * kPage; }

// Addresses in the guest that the image doesn't use.
struct Places {
    uint64_t landing = 0, landing_bytes = 0;    // stays: code above and the signal frame
    uint64_t clocks = 0;                        // stays: the pages through which the worker tells the time
    uint64_t vdso = 0;                          // stays: the node's vDSO with its data pages
    uint64_t plan = 0, plan_bytes = 0;          // goes with the runner
};

uint64_t clock_in_vdso() {
    auto at = vdso_symbol(our_vdso(), "__omx_clock");
    OMX_CHECK(at, "our vDSO has a clock");
    return *at;
}

// What the guest uses or may come to use by growing.
AddressGaps taken_by(const Image& image) {
    AddressGaps taken;
    for (const auto& g : image.regions) {
        uint64_t growth = 0;
        if (g.kind == RegionKind::stack) growth = std::clamp(image.limits.stack_soft, kGiB, 64 * kGiB);
        taken.take(g.start - std::min(g.start - std::min(g.start, kUserStart), growth), g.end);
    }
    taken.take(image.mm.start_brk, std::min(image.mm.brk + 64 * kGiB, kUserEnd));
    return taken;
}

// Among its libraries, where every program expects mappings to be (sanitizers reserve much of the rest for themselves).
std::optional<uint64_t> place_among_libraries(const Image& image, const AddressGaps& taken, uint64_t bytes) {
    uint64_t top = kUserStart;
    for (const auto& g : image.regions)
        if (g.kind != RegionKind::stack) top = std::max(top, g.start);
    auto at = taken.highest(kUserStart, top, bytes);
    return at ? at : taken.highest(kUserStart, kUserEnd, bytes);
}

// What stays goes right below the guest's highest mapping that is not the stack.
Status place_what_stays(const Image& image, AddressGaps& taken, Places& p) {
    uint64_t bytes = p.landing_bytes + OMX_CLOCK_BYTES + node_vdso().bytes;
    auto at = place_among_libraries(image, taken, bytes);
    if (!at) return fail("restore: no room for the node's vDSO in the guest's address space");
    p.landing = *at;
    p.clocks = *at + p.landing_bytes;
    p.vdso = p.clocks + OMX_CLOCK_BYTES;
    taken.take(*at, *at + bytes);
    return {};
}

// The plan must besides not meet what the stub has from its own exec: the stub's code at its fixed address, and stack,
// vDSO and whatever else the kernel puts near the top or, without a stack limit, into the lower third.
Status place_plan(AddressGaps& taken, Places& p) {
    taken.take(0x6f6d00000000, 0x6f6e00000000);
    uint64_t bytes = p.plan_bytes + node_vdso().bytes;      // with the parking place behind
    auto at = taken.lowest(0x600000000000, 0x7d0000000000, bytes);
    if (!at) at = taken.lowest(0x400000000000, 0x550000000000, bytes);
    if (!at) return fail("restore: no room for the plan beside the guest's memory");
    p.plan = *at;
    return {};
}

class Planner {
public:
    Planner(const Image& image, const Places& places)
        : image_(image), places_(places), clock_(node_vdso().functions), plan_(places.plan) {}

    Result<Plan> make(std::span<const int> files, NodeFiles node) {
        std::vector<int> all(files.begin(), files.end());
        plan_.operation({.kind = OMX_CLEAR_OUT}, "unmapping the stub");
        move_vdso();
        if (node.clocks >= 0) add_clocks(all, node.clocks);
        OMX_TRY(add_regions());
        bool has_island = node.island_code >= 0;
        if (has_island) add_island(all, node);
        add_landing();
        add_layout();
        add_names();
        add_signals();
        add_thread(image_.threads[0]);
        add_limits();
        // From here on no descriptor: the guest's own table is at home.
        plan_.call("closing the plan", SYS_close_range, {0, ~0u});
        omx_operation land = {.kind = OMX_LAND, .flags = 0, .number = 0, .args = {places_.landing}};
        land.args[1] = places_.landing + kFrameAt;
        plan_.operation(land, "going over to the guest");
        auto plan = plan_.finish(places_.plan_bytes);
        if (!plan) return plan;
        plan->files = std::move(all);
        plan->has_island = has_island;
        plan->clocks = clock_.page;
        plan->ours.push_back({places_.landing, places_.landing + places_.landing_bytes});
        plan->system_call = places_.landing + kSystemCallAt;
        if (node.clocks >= 0) plan->ours.push_back({places_.clocks, places_.clocks + OMX_CLOCK_BYTES});
        if (has_island) plan->ours.push_back({OMX_ISLAND_BASE, OMX_ISLAND_BASE + OMX_ISLAND_BYTES});
        for (const auto& g : image_.regions)
            if (g.kind == RegionKind::vdso) plan->ours.push_back({g.start, g.end});
        plan->way_in = {AddressRange{places_.landing, places_.landing + places_.landing_bytes},
                        AddressRange{places_.plan, places_.plan + places_.plan_bytes}};
        return plan;
    }

private:
    void move_vdso() {
        const NodeVdso& node = node_vdso();
        auto& h = plan_.header();
        std::copy(node.pieces.begin(), node.pieces.end(), h.piece);
        h.piece_count = node.pieces.size();
        h.vdso_to = places_.vdso;
        plan_.operation({.kind = OMX_MOVE_VDSO}, "moving the node's vDSO");
    }

    Status add_regions() {
        auto content = image_.contents.begin();
        for (const auto& g : image_.regions) {
            auto first = content;
            while (content != image_.contents.end() && content->address < g.end) ++content;
            if (g.kind == RegionKind::shared_anonymous || g.kind == RegionKind::shared_file)
                return fail("restore: shared memory can't be rebuilt yet");
            if (g.kind == RegionKind::vdso) OMX_TRY(add_vdso(g));
            else add_region(g, std::span(first, content));
        }
        return {};
    }

    static std::string text(const Region& g, std::string_view doing) {
        return fmt::format("{} {:x}-{:x}", doing, g.start, g.end);
    }

    void map(const Region& g, uint32_t prot) {
        uint64_t flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE;
        bool of_file = g.kind == RegionKind::file;
        if (!of_file) flags |= MAP_ANONYMOUS;
        if (g.kind == RegionKind::stack) flags |= MAP_GROWSDOWN | MAP_STACK;
        uint64_t fd = of_file ? kPlanFd + 1 + static_cast<uint64_t>(g.file) : ~0ull;
        plan_.call(text(g, "mapping"), SYS_mmap, {g.start, g.end - g.start, prot, flags, fd, g.file_offset}, OMX_EXACT);
    }

    void protect(const Region& g) {
        plan_.call(text(g, "protecting"), SYS_mprotect, {g.start, g.end - g.start, g.prot});
    }

    void add_region(const Region& g, std::span<const Content> contents) {
        uint32_t first_prot = contents.empty() ? g.prot : g.prot | PROT_READ | PROT_WRITE;
        map(g, first_prot);
        for (const auto& c : contents) plan_.copy(text(g, "filling"), c.address, c.data);
        if (first_prot != g.prot) protect(g);
    }

    // Home's functions at home's addresses are gone; ours are there, with the way to the node's filled in.
    Status add_vdso(const Region& g) {
        Bytes copy = vdso_with(clock_, image_.kernel_version);
        if (copy.size() > g.end - g.start) return fail("restore: home's vDSO leaves no room for ours");
        map(g, PROT_READ | PROT_WRITE);
        uint64_t data = plan_.data(View(copy));
        plan_.header().clock = data + clock_in_vdso();  // moving the vDSO, earlier in the plan, completes it there
        plan_.operation({.kind = OMX_COPY, .flags = 0, .number = 0, .args = {g.start, data, copy.size()}},
                        text(g, "filling"));
        protect(g);
        return {};
    }

    void add_landing() {
        Region g{.start = places_.landing, .end = places_.landing + places_.landing_bytes,
                 .prot = PROT_READ | PROT_EXEC, .kind = RegionKind::anonymous, .file = -1, .file_offset = 0};
        Bytes bytes(kFrameAt);
        std::memcpy(bytes.data(), kLandingCode, sizeof kLandingCode);
        Bytes frame = signal_frame(image_.threads[0], g.start + kFrameAt);
        bytes.insert(bytes.end(), frame.begin(), frame.end());
        map(g, PROT_READ | PROT_WRITE);
        plan_.copy(text(g, "filling"), g.start, bytes);
        protect(g);
    }

    // The number under which the guest will find it while its plan is carried out.
    static uint64_t lend(std::vector<int>& files, int fd) {
        files.push_back(fd);
        return static_cast<uint64_t>(kPlanFd) + files.size();
    }

    void map_nodes(uint64_t at, uint64_t bytes, uint64_t prot, uint64_t flags, uint64_t fd) {
        plan_.call("mapping what is the node's", SYS_mmap, {at, bytes, prot, flags | MAP_FIXED_NOREPLACE, fd, 0},
                   OMX_EXACT);
    }

    void add_clocks(std::vector<int>& files, int fd) {
        map_nodes(places_.clocks, OMX_CLOCK_BYTES, PROT_READ, MAP_SHARED, lend(files, fd));
        clock_.page = places_.clocks;
    }

    void add_island(std::vector<int>& files, NodeFiles node) {
        constexpr uint64_t kCodeBytes = OMX_ISLAND_CODE_BYTES + OMX_ISLAND_STUBS_BYTES;
        map_nodes(OMX_ISLAND_CODE, kCodeBytes, PROT_READ | PROT_EXEC, MAP_PRIVATE, lend(files, node.island_code));
        map_nodes(OMX_ISLAND_DATA, OMX_ISLAND_DATA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, ~0ull);
        map_nodes(OMX_ISLAND_NEWS, kPage, PROT_READ, MAP_SHARED, lend(files, node.island_news));
    }

    void add_layout() {
        const auto& m = image_.mm;
        struct prctl_mm_map map = {
            .start_code = m.start_code, .end_code = m.end_code, .start_data = m.start_data, .end_data = m.end_data,
            .start_brk = m.start_brk, .brk = m.brk, .start_stack = m.start_stack, .arg_start = m.arg_start,
            .arg_end = m.arg_end, .env_start = m.env_start, .env_end = m.env_end,
            .auxv = reinterpret_cast<__u64*>(plan_.data(View(image_.auxv))),
            .auxv_size = static_cast<uint32_t>(image_.auxv.size()), .exe_fd = ~0u};
        plan_.call("setting the memory layout", SYS_prctl, {PR_SET_MM, PR_SET_MM_MAP, plan_.data(map), sizeof map});
    }

    void add_names() {
        std::array<char, 16> name{};
        image_.name.copy(name.data(), name.size() - 1);
        plan_.call("setting the name", SYS_prctl, {PR_SET_NAME, plan_.data(name)});
        // After the mappings: READ_IMPLIES_EXEC would change their protections.
        if (image_.personality != static_cast<uint32_t>(::personality(0xffffffff)))
            plan_.call("setting the personality", SYS_personality, {image_.personality});
    }

    // The stub starts with every action at its default (restore.h), so only the others cost a call.
    void add_signals() {
        const auto& actions = image_.actions;
        // A handler must not run before the guest's own stack is under it; the signal frame puts the guest's mask back.
        if (std::ranges::any_of(actions, [](const auto& a) { return a.handler > 1; }))
            plan_.call("blocking signals", SYS_rt_sigprocmask, {SIG_SETMASK, plan_.data(~uint64_t{0}), 0, 8});
        for (size_t i = 0; i < actions.size(); i++)
            if (actions[i].handler != 0)
                plan_.call(fmt::format("setting the action of signal {}", i + 1), SYS_rt_sigaction,
                           {i + 1, plan_.data(actions[i]), 0, 8});
    }

    void add_thread(const ThreadState& t) {
        if (t.regs.fs_base) plan_.call("setting fs", SYS_arch_prctl, {ARCH_SET_FS, t.regs.fs_base});
        if (t.regs.gs_base) plan_.call("setting gs", SYS_arch_prctl, {ARCH_SET_GS, t.regs.gs_base});
        if (t.clear_child_tid) plan_.call("setting the thread's exit word", SYS_set_tid_address, {t.clear_child_tid});
        if (t.robust_list)
            plan_.call("setting the robust list", SYS_set_robust_list, {t.robust_list, t.robust_list_size});
        if (t.rseq) plan_.call("registering rseq", SYS_rseq, {t.rseq, t.rseq_size, 0, t.rseq_signature});
    }

    // The node may allow less than home; then the guest gets what there is.
    void add_limits() {
        const auto& l = image_.limits;
        add_limit(RLIMIT_STACK, l.stack_soft, l.stack_hard);
        add_limit(RLIMIT_DATA, l.data_soft, l.data_hard);
        add_limit(RLIMIT_AS, l.as_soft, l.as_hard);
    }

    void add_limit(__rlimit_resource what, uint64_t soft, uint64_t hard) {
        struct rlimit64 here;
        if (::getrlimit64(what, &here) != 0) return;
        if (here.rlim_cur == soft && here.rlim_max == hard) return;
        hard = std::min<uint64_t>(hard, here.rlim_max);
        struct rlimit64 wanted = {.rlim_cur = std::min(soft, hard), .rlim_max = hard};
        plan_.call("setting a memory limit", SYS_prlimit64, {0, static_cast<uint64_t>(what), plan_.data(wanted), 0},
                   OMX_MAY_FAIL);
    }

    const Image& image_;
    const Places& places_;
    omx_clock clock_;
    PlanWriter plan_;
};

// An upper bound: every region and content may want three operations and round up its data.
uint64_t plan_bytes(const Image& image) {
    uint64_t bytes = plan_overhead_bytes(3 * (image.regions.size() + image.contents.size()) + 128);
    for (const auto& c : image.contents) bytes += c.data.size() + 64;
    return page_up(bytes + image.auxv.size() + 64 * 64 + our_vdso().size() + 16 * kPage);
}

}  // namespace

Bytes vdso_with(const omx_clock& clock, uint32_t kernel_version) {
    View object = our_vdso();
    auto version_at = vdso_version_at(object);
    OMX_CHECK(version_at, "our vDSO has a version");
    Bytes copy(object.begin(), object.end());
    std::memcpy(copy.data() + clock_in_vdso(), &clock, sizeof clock);
    std::memcpy(copy.data() + *version_at, &kernel_version, sizeof kernel_version);
    return copy;
}

std::optional<uint64_t> place_for_vdso(const Image& image, uint64_t now, uint64_t bytes) {
    auto taken = taken_by(image);
    taken.take(now, now + bytes);
    return place_among_libraries(image, taken, bytes);
}

Result<Plan> plan_restore(const Image& image, std::span<const int> files, NodeFiles node) {
    if (image.threads.size() != 1) return fail("restore: a process of several threads can't be rebuilt yet");
    if (image.threads[0].tid.value != image.pid.value) return fail("restore: the leader has ended");
    if (files.size() != image.files.size()) return fail("restore: a file's content is missing");
    Places places;
    places.landing_bytes = page_up(kFrameAt + signal_frame(image.threads[0], 0).size());
    places.plan_bytes = plan_bytes(image);
    AddressGaps taken = taken_by(image);
    constexpr uint64_t kIslandEnd = OMX_ISLAND_BASE + OMX_ISLAND_BYTES;
    if (!taken.lowest(OMX_ISLAND_BASE, kIslandEnd, OMX_ISLAND_BYTES)) node.island_code = -1;
    taken.take(OMX_ISLAND_BASE, kIslandEnd);
    OMX_TRY(place_what_stays(image, taken, places));
    OMX_TRY(place_plan(taken, places));
    return Planner(image, places).make(files, node);
}

}  // namespace omx
