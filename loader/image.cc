// The encoded image, in the order of Image's members; contents last, so that the views into the body are one run.
#include "loader/image.h"
#include "loader/image_check.h"

namespace omx {
namespace {

// Smallest encoded sizes: a count is refused before anything is allocated for it.
constexpr size_t kFileBytes = 40, kRegionBytes = 37, kThreadBytes = sizeof(user_regs_struct), kContentBytes = 12;
constexpr size_t kActionBytes = 33, kPendingBytes = sizeof(pid_t) + sizeof(siginfo_t), kTimerBytes = 21;

void put_thread(Writer& w, const ThreadState& t) {
    w.put(t.tid.value);
    w.put(t.regs);
    w.bytes(t.xstate);
    for (uint64_t v : {t.blocked, t.altstack_sp, t.altstack_size}) w.put(v);
    w.put(t.altstack_flags);
    for (uint64_t v : {t.robust_list, t.robust_list_size, t.clear_child_tid, t.rseq}) w.put(v);
    w.put(t.rseq_size);
    w.put(t.rseq_signature);
    for (uint64_t v : {t.call, t.sleep_ns, t.sleep_rest}) w.put(v);
    t.scheduling.encode(w);
}

ThreadState get_thread(Reader& r) {
    ThreadState t;
    t.tid = HomeTid(r.get<pid_t>());
    t.regs = r.get<user_regs_struct>();
    View xstate = r.bytes();
    t.xstate.assign(xstate.begin(), xstate.end());
    for (uint64_t* v : {&t.blocked, &t.altstack_sp, &t.altstack_size}) *v = r.get<uint64_t>();
    t.altstack_flags = r.get<int32_t>();
    for (uint64_t* v : {&t.robust_list, &t.robust_list_size, &t.clear_child_tid, &t.rseq}) *v = r.get<uint64_t>();
    t.rseq_size = r.get<uint32_t>();
    t.rseq_signature = r.get<uint32_t>();
    for (uint64_t* v : {&t.call, &t.sleep_ns, &t.sleep_rest}) *v = r.get<uint64_t>();
    t.scheduling = Scheduling::read(r);
    return t;
}

void put_region(Writer& w, const Region& g) {
    w.put(g.start);
    w.put(g.end);
    w.put(g.prot);
    w.put(g.kind);
    w.put(g.file);
    w.put(g.file_offset);
    w.put(g.traits);
}

Region get_region(Reader& r) {
    Region g;
    g.start = r.get<uint64_t>();
    g.end = r.get<uint64_t>();
    g.prot = r.get<uint32_t>();
    g.kind = r.get<RegionKind>();
    g.file = r.get<int32_t>();
    g.file_offset = r.get<uint64_t>();
    g.traits = r.get<uint32_t>();
    return g;
}

// Most processes have next to no actions that are not the default: only those travel, each with its index.
void put_actions(Writer& w, const std::array<SignalAction, 64>& actions) {
    size_t count_at = w.out().size();
    w.put(uint32_t{0});
    uint32_t count = 0;
    for (uint8_t i = 0; i < actions.size(); i++) {
        const auto& a = actions[i];
        if (!(a.handler | a.flags | a.restorer | a.mask)) continue;
        w.put(i);
        for (uint64_t v : {a.handler, a.flags, a.restorer, a.mask}) w.put(v);
        count++;
    }
    std::memcpy(w.out().data() + count_at, &count, sizeof count);
}

// How many elements follow; a count that the rest of the body can't hold is refused.
size_t get_count(Reader& r, size_t element_bytes) {
    size_t count = r.get<uint32_t>();
    if (count > r.left() / element_bytes) r.refuse();
    return r.ok() ? count : 0;
}

void get_actions(Reader& r, std::array<SignalAction, 64>& actions) {
    for (size_t n = get_count(r, kActionBytes); n > 0 && r.ok(); n--) {
        size_t i = r.get<uint8_t>();
        if (i >= actions.size()) return r.refuse();
        for (uint64_t* v : {&actions[i].handler, &actions[i].flags, &actions[i].restorer, &actions[i].mask})
            *v = r.get<uint64_t>();
    }
}

void put_cpu_timers(Writer& w, const std::vector<CpuTimerState>& timers) {
    w.put(static_cast<uint32_t>(timers.size()));
    for (const auto& t : timers) {
        w.put(t.kind);
        w.put(t.number);
        w.put(t.left_ns);
        w.put(t.interval_ns);
    }
}

CpuTimerState get_cpu_timer(Reader& r) {
    CpuTimerState t;
    t.kind = r.get<CpuTimerState::Kind>();
    t.number = r.get<int32_t>();
    t.left_ns = r.get<uint64_t>();
    t.interval_ns = r.get<uint64_t>();
    return t;
}

void get_lists(Reader& r, Image& i) {
    for (size_t n = get_count(r, kFileBytes); n > 0 && r.ok(); n--) i.files.push_back(FileKey::read(r));
    for (size_t n = get_count(r, kRegionBytes); n > 0 && r.ok(); n--) i.regions.push_back(get_region(r));
    for (size_t n = get_count(r, kThreadBytes); n > 0 && r.ok(); n--) i.threads.push_back(get_thread(r));
    for (size_t n = get_count(r, kPendingBytes); n > 0 && r.ok(); n--) {
        auto tid = HomeTid(r.get<pid_t>());
        i.pending.push_back({tid, r.get<siginfo_t>()});
    }
    for (size_t n = get_count(r, kTimerBytes); n > 0 && r.ok(); n--) i.cpu_timers.push_back(get_cpu_timer(r));
    for (size_t n = get_count(r, kContentBytes); n > 0 && r.ok(); n--) {
        uint64_t address = r.get<uint64_t>();
        i.contents.push_back({address, r.bytes()});
    }
}

}  // namespace

void Image::encode(Writer& w) const {
    w.put(pid.value);
    w.put(personality);
    w.put(borrows);
    w.put(locks_future);
    w.put(kernel_version);
    w.text(name);
    w.put(mm);
    w.put(limits);
    w.bytes(auxv);
    put_actions(w, actions);
    w.put(static_cast<uint32_t>(files.size()));
    for (const auto& f : files) f.encode(w);
    w.put(static_cast<uint32_t>(regions.size()));
    for (const auto& g : regions) put_region(w, g);
    w.put(static_cast<uint32_t>(threads.size()));
    for (const auto& t : threads) put_thread(w, t);
    w.put(static_cast<uint32_t>(pending.size()));
    for (const auto& s : pending) {
        w.put(s.tid.value);
        w.put(s.info);
    }
    put_cpu_timers(w, cpu_timers);
    w.put(static_cast<uint32_t>(contents.size()));
    for (const auto& c : contents) {
        w.put(c.address);
        w.bytes(c.data);
    }
}

Result<Image> Image::decode(View body) {
    Reader r(body);
    Image i;
    i.pid = HomePid(r.get<pid_t>());
    i.personality = r.get<uint32_t>();
    i.borrows = r.get<uint8_t>();
    i.locks_future = r.get<uint32_t>();
    i.kernel_version = r.get<uint32_t>();
    i.name = r.text();
    i.mm = r.get<MmFields>();
    i.limits = r.get<NodeLimits>();
    View auxv = r.bytes();
    i.auxv.assign(auxv.begin(), auxv.end());
    get_actions(r, i.actions);
    get_lists(r, i);
    if (!r.finished()) return fail("image: it does not end where its parts end");
    OMX_TRY(check_image(i));
    return i;
}

}  // namespace omx
