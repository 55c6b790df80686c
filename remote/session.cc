#include "remote/session.h"
#include "loader/cpu.h"
#include "remote/debug.h"
#include "remote/pass_socket.h"
#include "remote/sandbox.h"
#include "remote/scheduling.h"
#include "remote/worker.h"
#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>

namespace omx {
namespace {

constexpr int kHandshakeMs = 10'000;
constexpr uint32_t kGreatestPidMax = 1u << 22;                 // of any Linux

void complain(const std::string& line) {
    auto text = fmt::format("omxsup node: {}\n", line);
    if (write(STDERR_FILENO, text.data(), text.size()) < 0) { /* nobody reads our log */ }
}

LoopKind loop_kind(const std::string& link) {
    if (link == "io_uring") return LoopKind::io_uring;
    return link == "epoll" ? LoopKind::epoll : LoopKind::automatic;
}

// Waits until the peer has read the refusal: closing a TCP socket with unread bytes in it (its hello) would reset the
// connection, and the reset may overtake what we said.
void let_peer_read(int socket) {
    shutdown(socket, SHUT_WR);
    timeval patience{1, 0};
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    int flags = fcntl(socket, F_GETFL);
    if (flags >= 0) fcntl(socket, F_SETFL, flags & ~O_NONBLOCK);
    char rest[4096];
    while (read(socket, rest, sizeof rest) > 0) {}
}

void refuse(Link& link, const std::string& reason) {
    complain(fmt::format("refused a job: {}", reason));
    link.send(FrameType::refuse, 0, Refuse{reason});
    (void)link.flush(1000);
    let_peer_read(link.fd());
}

Result<Hello> read_hello(Link& link) {
    auto frame = link.receive_wait(kHandshakeMs);
    if (!frame) return std::unexpected(frame.error());
    if (frame->type != FrameType::hello) return fail(fmt::format("home began with a {} frame", name(frame->type)));
    return Hello::decode(frame->body);
}

// Why a guest of that home can't run here; nothing: it can.
Status acceptable(const Hello& home, const NodeOptions& options, Hello& ours, SchedulingHere& scheduling) {
    if (home.version != kProtocolVersion)
        return fail(fmt::format("home speaks protocol {}, this node {}: install the same omxsup on both", home.version,
                                kProtocolVersion));
    if (home.pid_max == 0 || home.pid_max > kGreatestPidMax)
        return fail(fmt::format("home's hello makes no sense: process numbers up to {}", home.pid_max));
    if (home.cpus == 0 || home.cpus > CpuSet::kMostCpus)
        return fail(fmt::format("home's hello makes no sense: {} CPUs", home.cpus));
    auto pid_max = pid_max_at_least(home.pid_max);
    if (!pid_max) return std::unexpected(pid_max.error());
    ours.pid_max = *pid_max;
    if (*pid_max < home.pid_max)
        return fail(fmt::format("home has process numbers up to {}, this node only up to {}: raise kernel.pid_max here",
                                home.pid_max, *pid_max));
    if (auto beyond = features_beyond(ours.cpu, home.cpu); !beyond.empty() && !options.ignore_cpu)
        return fail(
            fmt::format("this node's CPU has features that home's lacks ({}): a guest could not come home. Run from "
                        "the newer machine on the older one",
                        beyond));
    return scheduling.keep_within({home.cpus, home.memory_nodes});
}

Hello our_hello(const NodeOptions& options) {
    utsname system{};
    uname(&system);
    Hello h;
    h.uid = geteuid();
    h.cpu = cpu_features();
    if (auto changed = change_features(h.cpu, options.test_cpu); !changed) complain(changed.error().what);
    h.host = node_name(options);
    h.kernel = system.release;
    return h;
}

void tell(const UniqueFd& news, const std::string& text) {
    if (news && write(news.get(), text.data(), text.size()) < 0) OMX_DEBUG("the daemon doesn't listen");
}

// Inside the sandbox. Everything that can fail before the first frame has been done.
int serve(SessionSetup setup, const NodeOptions& options, WorkerSetup worker_setup) {
    auto loop = Loop::make(loop_kind(options.link));
    if (!loop) { complain(loop.error().what); return 1; }
    Link link(plain_channel(std::move(setup.socket), options.patience_s), **loop);
    auto home = read_hello(link);
    if (!home && home.error().code == ECONNRESET) {               // nobody is there to be told
        complain(fmt::format("a job did not begin: {}", home.error().what));
        return 1;
    }
    if (!home) { refuse(link, fmt::format("home's hello makes no sense: {}", home.error().what)); return 1; }
    auto ours = our_hello(options);
    if (auto fine = acceptable(*home, options, ours, *worker_setup.scheduling); !fine) { refuse(link, fine.error().what); return 1; }
    tell(setup.news, home->boot_id);
    setup.news.reset();
    if (setup.cache) worker_setup.cache.emplace(std::move(setup.cache));
    worker_setup.lane_door = std::move(setup.lane_door);
    worker_setup.lane_token = setup.lane_token;
    worker_setup.lanes = options.lanes;
    worker_setup.lacking = features_beyond(home->cpu, ours.cpu);
    ours.asked = worker_setup.clocks.now();
    link.send(FrameType::hello, 0, ours);
    OMX_DEBUG("job {} of {}: {} (loop: {})", home->job, home->host, home->command, (*loop)->kind());
    Worker worker(std::move(worker_setup), **loop, link);
    auto ended = worker.run();
    if (!ended) complain(fmt::format("job {} of {}: {}", home->job, home->host, ended.error().what));
    return ended ? 0 : 1;
}

bool foregoes(const NodeOptions& options, std::string_view what) {
    return std::ranges::find(options.without, what) != options.without.end();
}

Result<WorkerSetup> lock_in(const SessionSetup& setup, const NodeOptions& options, int report, int door) {
    WorkerSetup w;
    w.sync_wake_up = !foregoes(options, "sync-wake-up");
    w.procmap_query = !foregoes(options, "procmap-query");
    auto lazily = lazy_mappings_work();
    if (!lazily) OMX_DEBUG("big files are fetched whole: {}", lazily.error().what);
    w.userfaultfd = lazily && !foregoes(options, "userfaultfd");
    w.lazy_above = options.lazy_above;
    auto scheduling = SchedulingHere::of_this_node(options.all_cpus);
    if (!scheduling) return std::unexpected(scheduling.error());
    w.scheduling = std::move(*scheduling);
    if (auto files = mount_big_page_files(); !files) OMX_DEBUG("contents: {}", files.error().what);
    else if (!foregoes(options, "big-pages")) w.big_pages.emplace(std::move(*files));
    OMX_TRY(enter_empty_root());
    w.ns_last_pid.reset(open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC));
    if (!w.ns_last_pid) return fail_errno("can't open ns_last_pid (a kernel without CONFIG_CHECKPOINT_RESTORE?)");
    auto offsets = unshare_time();
    if (!offsets) return std::unexpected(offsets.error());
    auto clocks = GuestClocks::make(std::move(*offsets), options.test_skew[0]);
    if (!clocks) return std::unexpected(clocks.error());
    w.clocks = std::move(*clocks);
    auto filter = build_filter();
    if (!filter) return std::unexpected(filter.error());
    w.filter = std::move(*filter);
    OMX_TRY(drop_privileges());
    OMX_TRY(choose_next_id(w.ns_last_pid.get(), 300));          // proves that we may, before anybody relies on it
    auto flags = listener_flags(!foregoes(options, "killable-recv"));
    if (!flags) return std::unexpected(flags.error());
    w.listener_flags = *flags;
    std::vector<int> keep{door, w.ns_last_pid.get(), report, w.clocks.offsets(), w.clocks.pages()};
    if (w.big_pages) std::ranges::copy(w.big_pages->descriptors(), std::back_inserter(keep));
    if (setup.cache) keep.push_back(setup.cache.get());
    if (setup.news) keep.push_back(setup.news.get());
    if (setup.lane_door) keep.push_back(setup.lane_door.get());
    OMX_TRY(keep_descriptors_only(keep));
    OMX_TRY(die_with_parent(0));
    return w;
}

[[noreturn]] void be_worker(SessionSetup setup, const NodeOptions& options, UniqueFd report, UniqueFd door) {
    prctl(PR_SET_NAME, "omxsup-spare");
    std::signal(SIGTERM, SIG_DFL);
    std::signal(SIGPIPE, SIG_IGN);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    if (foregoes(options, "cache")) setup.cache.reset();
    auto ready = lock_in(setup, options, report.get(), door.get());
    if (!ready) {
        auto& why = ready.error().what;
        if (write(report.get(), why.data(), why.size()) < 0) complain(why);
        _exit(1);
    }
    report.reset();
    setup.socket = take_socket(door.get()).socket;
    if (!setup.socket) _exit(0);
    door.reset();
    prctl(PR_SET_NAME, "omxsup-worker");
    _exit(serve(std::move(setup), options, std::move(*ready)));
}

// Until the worker ends. SIGTERM ends it, and with pid 1 its whole namespace.
int wait_for(pid_t worker) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    bool asked = false;
    for (;;) {
        int status;
        if (waitpid(worker, &status, WNOHANG) == worker) {
            if (WIFSIGNALED(status) && !asked)
                complain(fmt::format("a worker was killed by signal {}", WTERMSIG(status)));
            return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        }
        if (sigwaitinfo(&set, nullptr) != SIGTERM) continue;
        asked = true;
        kill(worker, SIGKILL);
    }
}

// Makes the namespaces and the worker in them, and waits until it has locked itself in. Returns the door over which
// it takes its link.
Result<UniqueFd> start_worker(SessionSetup& setup, const NodeOptions& options, pid_t& worker) {
    allow_own_priority();
    OMX_TRY(unshare_namespaces());
    if (options.test_skew[1]) OMX_TRY(shift_time(options.test_skew[1]));
    int report[2], doors[2];
    if (pipe2(report, O_CLOEXEC) < 0) return fail_errno("pipe");
    UniqueFd reader(report[0]), writer(report[1]);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, doors) < 0) return fail_errno("socketpair");
    UniqueFd ours(doors[0]), theirs(doors[1]);
    worker = fork();
    if (worker < 0) return fail_errno("can't make a worker");
    if (worker == 0) {
        reader.reset();
        ours.reset();
        setup.door.reset();
        be_worker(std::move(setup), options, std::move(writer), std::move(theirs));
    }
    writer.reset();
    std::string why;
    char piece[512];
    for (ssize_t n; (n = read(reader.get(), piece, sizeof piece)) > 0;) why.append(piece, static_cast<size_t>(n));
    if (why.empty()) return ours;
    wait_for(worker);
    return fail(why);
}

}  // namespace

int refuse_peer(UniqueFd socket, const std::string& reason) {
    auto loop = Loop::make(LoopKind::epoll);
    if (!loop) return 1;
    Link link(plain_channel(std::move(socket)), **loop);
    refuse(link, reason);
    return 1;
}

void refuse_without_waiting(UniqueFd socket, const std::string& reason) {
    auto loop = Loop::make(LoopKind::epoll);
    if (!loop) return;
    char hello[4096];              // unread, it would make the close a reset, which overtakes the answer
    while (recv(socket.get(), hello, sizeof hello, MSG_DONTWAIT) > 0) {}
    Link link(plain_channel(std::move(socket)), **loop);
    link.send(FrameType::refuse, 0, Refuse{reason});
    (void)link.flush(0);
}

Status check_peer(int socket) {
    auto uid = peer_uid(socket);
    if (!uid)
        return fail(fmt::format(
            "can't tell whose process connects ({}); a node serves its own user only, unless started with --insecure",
            uid.error().what));
    if (*uid != geteuid())
        return fail(fmt::format("this node runs as user {} and serves no other; you are user {}", geteuid(), *uid));
    return {};
}

std::string node_name(const NodeOptions& options) {
    if (!options.name.empty()) return options.name;
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    return host;
}

int run_session(SessionSetup setup, const NodeOptions& options) {
    prctl(PR_SET_NAME, "omxsup-spare");
    // Our parent's descriptors must not live on in us: its io_uring would, with all that is being polled in it, our
    // peer's end of the link among it, and nobody would ever see that the link has ended.
    std::vector<int> keep;
    for (auto* fd : {&setup.socket, &setup.door, &setup.cache, &setup.lane_door, &setup.news})
        if (*fd) keep.push_back(fd->get());
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_SETMASK, &set, nullptr);
    pid_t worker = -1;
    std::string why;
    UniqueFd inner;
    if (auto closed = keep_descriptors_only(keep); !closed) why = closed.error().what;
    else if (auto made = start_worker(setup, options, worker); made) inner = std::move(*made);
    else why = made.error().what;
    setup.cache.reset();
    setup.lane_door.reset();
    setup.news.reset();

    if (!setup.socket) setup.socket = take_socket(setup.door.get()).socket;
    setup.door.reset();
    if (!setup.socket) return 0;                 // the node has ended; the worker sees its door closed
    prctl(PR_SET_NAME, "omxsup-session");
    if (!why.empty()) return refuse_peer(std::move(setup.socket), why);
    if (!pass_socket(inner.get(), setup.socket.get()))
        return refuse_peer(std::move(setup.socket), "the worker has died");
    inner.reset();
    setup.socket.reset();                        // the worker's end is the only one: home sees at once when it is gone
    return wait_for(worker);
}

}  // namespace omx
