// Lanes: guests whose hot calls go home past the worker. What is here decides who gets one, rewrites their call sites,
// and sees to it that they can't be told from guests without (docs/lanes.md): signals, restarts, clones, faults.
#include "remote/call_sites.h"
#include "remote/debug.h"
#include "remote/island_state.h"
#include "remote/lane_rows.h"
#include "remote/pass_socket.h"
#include "remote/worker.h"
#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <x86intrin.h>

namespace omx {
namespace {

// A short program never gets there; a compiler or an interpreter that starts up just does. Big transfers count for
// many: over a lane their bytes are copied once less.
constexpr unsigned kCallsToLane = 256, kCallsToRewrite = 8, kMostWeight = 64;
constexpr uint64_t kBytesOfOneCall = 8192;

unsigned weight(uint32_t nr, const CallArgs& args) {
    bool transfer = nr == SYS_read || nr == SYS_write || nr == SYS_pread64 || nr == SYS_pwrite64;
    return transfer ? 1 + static_cast<unsigned>(std::min<uint64_t>(args[2] / kBytesOfOneCall, kMostWeight)) : 1;
}
constexpr std::chrono::microseconds kSpin{200}, kSomebodyRan{3}, kHoldOff{2000};

// The time stamp counter against the clock, since this process looked first.
class Cycles {
public:
    Cycles() : counter_(__rdtsc()), time_(Clock::now()) {}
    uint64_t in(std::chrono::nanoseconds time) const {
        auto passed = std::max<int64_t>((Clock::now() - time_).count(), 1);
        return static_cast<uint64_t>(static_cast<double>(__rdtsc() - counter_) / static_cast<double>(passed) *
                                     static_cast<double>(time.count()));
    }

private:
    using Clock = std::chrono::steady_clock;
    uint64_t counter_;
    Clock::time_point time_;
};
const Cycles cycles;

// The highest number that guests' tables take (they have our limit): programs rarely go there.
int lane_descriptor() {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1 << 20)) - 1;
}

// The island blocks in its receives, and what it sends must not wait for company.
bool prepare(int socket) {
    int flags = fcntl(socket, F_GETFL), on = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);        // not for a unix socket
    if (peer_is_near(socket)) send_unpaced(socket);
    return flags >= 0 && fcntl(socket, F_SETFL, flags & ~O_NONBLOCK) == 0;
}

template <class T> bool read_object(ProcessMemory& memory, uint64_t at, T& into) {
    return memory.read(GuestAddr(at), std::as_writable_bytes(std::span(&into, 1))) == sizeof into;
}
template <class T> bool write_object(ProcessMemory& memory, uint64_t at, const T& from) {
    return memory.write(GuestAddr(at), std::as_bytes(std::span(&from, 1))) == sizeof from;
}

}  // namespace

Status Worker::open_lane_door() {
    if (setup_.lanes == "off" || !setup_.lane_door) return {};
    auto code = island_file();
    if (!code) return std::unexpected(code.error());
    island_code_ = std::move(*code);
    island_news_.reset(memfd_create("omxsup-news", MFD_CLOEXEC));
    if (!island_news_ || ftruncate(island_news_.get(), sysconf(_SC_PAGESIZE)) < 0) return fail_errno("memfd_create");
    void* p = mmap(nullptr, sizeof(omx_news), PROT_READ | PROT_WRITE, MAP_SHARED, island_news_.get(), 0);
    if (p == MAP_FAILED) return fail_errno("mmap");
    news_ = static_cast<omx_news*>(p);
    loop_.watch_readable(setup_.lane_door.get(), [this] { on_lane_door(); });
    return {};
}

// ---- who gets a lane ----

// A call that could have gone over a lane came by notification.
void Worker::heat(Thread& t, uint64_t notification, uint32_t nr, const CallArgs& args) {
    auto& p = *t.process;
    auto& lane = p.lane;
    if (!lane.has_island || !lane.alone || p.threads.size() != 1 || !may_use_lane(nr)) return;
    bool always = setup_.lanes == "always";
    auto calls = weight(nr, args);
    lane.calls += calls;
    if (lane.calls < (always ? 2 : kCallsToLane)) return;
    if (lane.state == GuestLane::State::none) return ask_for_lane(p);
    if (lane.state == GuestLane::State::asked) return;
    if (lane.state == GuestLane::State::ready && !turn_lane_on(p, notification)) return;
    auto site = t.call_site - 2;
    if (site >= OMX_ISLAND_BASE && site < OMX_ISLAND_BASE + OMX_ISLAND_BYTES) return;        // it fell back
    auto& heat = lane.heat[site];
    if (heat == GuestLane::kNever) return;
    heat += calls;
    if (heat >= (always ? 1 : kCallsToRewrite)) t.site_to_rewrite = site;
}

void Worker::ask_for_lane(Process& p) {
    p.lane.state = GuestLane::State::asked;
    p.lane.number = ++last_lane_;
    link_.send(FrameType::lane_ask, 0, LaneAsk{.pid = p.pid, .lane = p.lane.number, .token = setup_.lane_token});
    OMX_DEBUG("{}: asks for a lane", p.pid.value);
}

void Worker::on_lane_door() {
    auto taken = take_socket(setup_.lane_door.get());
    if (taken.gone) loop_.unwatch_readable(setup_.lane_door.get());      // the daemon has ended; open lanes go on
    if (!taken.socket) return;
    for (auto& [pid, p] : guests_.processes()) {
        auto& lane = p->lane;
        if (lane.state != GuestLane::State::asked || lane.number != taken.number) continue;
        if (!prepare(taken.socket.get())) return;
        lane.socket = std::move(taken.socket);
        lane.state = GuestLane::State::ready;
        return;
    }
}

// `notification` holds the guest meanwhile. False: not now.
bool Worker::turn_lane_on(Process& p, uint64_t notification) {
    omx_lane lane{};
    p.memory.through(HomeTid(p.pid.value));
    if (!read_object(p.memory, OMX_ISLAND_DATA, lane)) return false;
    lane.fd = lane_descriptor();
    if (p.installed->contains(lane.fd)) return false;
    // All who share memory go home together when one must: none may then wait on a lane. Only a fork shares.
    if (std::exchange(p.lane.may_share, false) && !shared_memory_of(p.pid).empty()) {
        p.lane.alone = false;
        return false;
    }
    if (p.lane.socket) {
        if (!p.listener->install(notification, p.lane.socket.get(), lane.fd)) return false;
        p.lane.socket.reset();
    }
    lane.tid = p.pid.value;
    lane.defer = 0;
    lane.spin_cycles = spinner_.budget().count() ? cycles.in(kSpin) : 0;
    lane.somebody_ran_cycles = cycles.in(kSomebodyRan);
    lane.hold_off = lane.hold_off_cycles = cycles.in(kHoldOff);
    lane.failures = 0;
    fill_lane_rows(lane, !p.installed->empty());
    lane.on = 1;
    if (!write_object(p.memory, OMX_ISLAND_DATA, lane)) return false;
    p.lane.state = GuestLane::State::on;
    OMX_DEBUG("{}: its lane is on", p.pid.value);
    return true;
}

// Before the guest's shape changes. It is held in a call, not on its island.
void Worker::turn_lane_off(Process& p) {
    if (p.lane.state != GuestLane::State::on) return;
    p.memory.through(HomeTid(p.pid.value));
    if (write_object(p.memory, OMX_LANE_ON, uint32_t{0})) p.lane.state = GuestLane::State::ready;
    p.lane.calls = kCallsToLane;
}

// ---- call sites ----

// Its thread stands behind the call, in a stop; no other thread is there.
void Worker::rewrite_site(Thread& t, uint64_t site) {
    auto& p = *t.process;
    auto& lane = p.lane;
    user_regs_struct regs;
    if (p.threads.size() != 1 || lane.sites.size() >= OMX_SITES || !tracee::registers(t.tid, regs)) return;
    if (regs.rip != site + 2) return;
    lane.heat[site] = GuestLane::kNever;
    p.memory.through(t.tid);
    GuestAddr start((site - std::min(site, kSiteSurroundings)) & ~uint64_t{4095});
    Bytes code(2 * kSiteSurroundings);
    code.resize(p.memory.read(start, code));
    if (!can_be_rewritten(View(code), start, GuestAddr(site))) {
        OMX_DEBUG("{}: the call at {:#x} can't be rewritten", p.pid.value, site);
        return;
    }
    auto index = static_cast<unsigned>(lane.sites.size());
    auto stub = site_stub(index, GuestAddr(site), View(code).subspan(site - start.value, OMX_SITE_BYTES));
    if (!p.memory.write_forced(stub_address(index), View(stub)) ||
        !p.memory.write_forced(door_address(index), View(site_door(index))) ||
        !p.memory.write_forced(GuestAddr(site), site_jump(index)))
        return;
    lane.sites.push_back(site);
    lane.heat.erase(site);
    regs.rip = stub_address(index).value + OMX_STUB_DONE;
    tracee::set_registers(t.tid, regs);
    OMX_DEBUG("{}: rewrote the call at {:#x}", p.pid.value, site);
}

// ---- stops on the island ----

// Where the stopped thread is to go on, so that it is before or behind its call, or has to be waited for.
IslandMove Worker::leave_island(Thread& t, bool faulted) {
    auto& p = *t.process;
    user_regs_struct regs;
    if (!p.lane.has_island || !tracee::registers(t.tid, regs) || !in_island(regs)) return IslandMove::none;
    omx_lane lane{};
    omx_lane_frame frame{};
    p.memory.through(t.tid);
    if (!read_object(p.memory, OMX_ISLAND_DATA, lane)) return IslandMove::none;
    auto move = island_move(regs, lane);
    if (move == IslandMove::none) return move;
    bool framed = needs_frame(regs) && read_object(p.memory, lane.frame, frame);
    if (lane.site >= p.lane.sites.size() || (needs_frame(regs) && !framed)) return IslandMove::none;
    OMX_DEBUG("{}: stopped on its island at {:#x}, phase {}: {}", t.tid.value, regs.rip, lane.phase,
              faulted ? "faulted" : name(move));
    if (faulted && !framed) return IslandMove::none;
    if (faulted)
        regs = move == IslandMove::roll_back ? call_by_notification(regs, lane, frame)
                                             : behind_call(regs, lane, &frame, -EFAULT);
    else if (move == IslandMove::roll_back) {
        uint64_t site = stub_index(regs, lane) < p.lane.sites.size() ? p.lane.sites[stub_index(regs, lane)] : 0;
        regs = before_call(regs, lane, framed ? &frame : nullptr, site);
    } else if (move == IslandMove::finish) {
        regs = behind_call(regs, lane, framed ? &frame : nullptr, lane.result);
        hold_nothing_back(t);
    } else {
        write_object(p.memory, OMX_LANE_DEFER, uint32_t{1});
        return move;
    }
    tracee::set_registers(t.tid, regs);
    return move;
}

// A handler that interrupted a call at a site that was rewritten later has returned into it (loader/island/island.h).
bool Worker::returned_into_site(Thread& t) {
    auto& sites = t.process->lane.sites;
    user_regs_struct regs;
    if (sites.empty() || !tracee::registers(t.tid, regs)) return false;
    auto site = std::ranges::find(sites, regs.rip - OMX_SITE_TRAP);
    if (site == sites.end()) return false;
    regs.rip = stub_address(static_cast<unsigned>(site - sites.begin())).value + OMX_STUB_DONE;
    return tracee::set_registers(t.tid, regs);
}

// At a delivery stop. True: the signal is not to be delivered now.
bool Worker::island_holds_back(Thread& t, int signal, const siginfo_t& info) {
    if (!t.process->lane.has_island) return false;
    if (signal == SIGTRAP && info.si_code == SI_KERNEL && returned_into_site(t)) return true;
    bool faulted = (signal == SIGSEGV || signal == SIGBUS) && info.si_code > 0;
    auto move = leave_island(t, faulted);
    if (move == IslandMove::none) return false;
    if (faulted) return true;                              // it was the island's, not the guest's
    if (move != IslandMove::wait) return false;
    t.held_back.push_back({t.tid, info});
    return true;
}

// The guest asks to be seen to before it goes on behind (or in) its call.
void Worker::on_lane_exit(Thread& t, uint64_t notification) {
    auto& p = *t.process;
    omx_lane lane{};
    p.memory.through(t.tid);
    if (!read_object(p.memory, OMX_ISLAND_DATA, lane)) return;
    if (lane.broken) return link_ended({fmt::format("the lane of guest {} is broken", p.pid.value), EPROTO});
    t.lane_exit = LaneExit{.notification = notification, .link_frames = lane.link_frames};
    leaving_.push_back(t.tid);
    let_out_who_waits();
}

// Everything that home said before its answer comes first. False: not yet.
bool Worker::let_out(Thread& t) {
    auto& exit = *t.lane_exit;
    if (exit.answered) return true;
    if (exit.link_frames > link_.counters().frames_in) return false;
    exit.answered = true;
    hold_nothing_back(t);
    tracee::interrupt(t.tid);
    t.process->listener->answer(exit.notification, 0);
    return true;
}

// Its call is over: signals that waited for that are sent again.
void Worker::hold_nothing_back(Thread& t) {
    auto& p = *t.process;
    p.memory.through(t.tid);
    write_object(p.memory, OMX_LANE_DEFER, uint32_t{0});
    for (auto& s : std::exchange(t.held_back, {})) {
        p.signals.push_back(s);
        syscall(SYS_tgkill, p.pid.value, t.tid.value, s.info.si_signo);
    }
}

void Worker::let_out_who_waits() {
    news_->link_frames = link_.counters().frames_in;
    std::erase_if(leaving_, [this](HomeTid tid) {
        auto t = guests_.thread(tid);
        return !t || !t->lane_exit || let_out(*t);
    });
}

// Our interrupt has stopped it: the way out is done, sites are rewritten, and home learns that its signals are here.
void Worker::on_lane_stop(Thread& t) {
    auto& p = *t.process;
    if (auto site = std::exchange(t.site_to_rewrite, 0)) rewrite_site(t, site);
    if (t.lane_exit && t.lane_exit->answered) {
        finish_lane_exit(t);
        t.lane_exit.reset();
    } else if (p.lane.pongs.empty() || leave_island(t, false) == IslandMove::wait) {
        return;
    }
    tell_signals_are_here(p);
}

void Worker::tell_signals_are_here(Process& p) {
    for (auto& body : std::exchange(p.lane.pongs, {})) link_.send(FrameType::pong, 0, View(body));
}

void Worker::finish_lane_exit(Thread& t) {
    auto& memory = t.process->memory;
    user_regs_struct regs;
    omx_lane lane{};
    omx_lane_frame frame{};
    memory.through(t.tid);
    if (!tracee::registers(t.tid, regs) || !read_object(memory, OMX_ISLAND_DATA, lane) ||
        !read_object(memory, lane.frame, frame))
        return;
    if (lane.restart == abi::kErestartBlock) lane.restart = abi::kErestartNoHand;
    regs = lane.restart ? interrupted_call(regs, lane, frame) : behind_call(regs, lane, &frame, lane.result);
    t.restart_is_ours = lane.restart == abi::kErestartSys;
    tracee::set_registers(t.tid, regs);
}

// Home asks whether its signals have arrived. They have when it is known where the guest stands: a call that leaves
// later leaves behind the handler.
void Worker::on_ping(const Frame& f) {
    auto about = KillFrame::decode(f.body);
    auto p = about ? guests_.process(about->pid) : nullptr;
    if (!p || p->lane.state != GuestLane::State::on || p->killed) return link_.send(FrameType::pong, f.id, f.body);
    p->lane.pongs.emplace_back(f.body.begin(), f.body.end());
    for (pid_t tid : p->threads) tracee::interrupt(HomeTid(tid));
}

}  // namespace omx
