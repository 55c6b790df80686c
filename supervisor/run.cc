// `omxsup run`: forks the supervisor off, lets it take hold of this very process, and becomes the command.
//
// A supervisor must not be the command's parent: it would have to stop at ^Z with the shell's job, and to imitate
// status, $! and getppid. So the command runs in the process that the shell started, and the supervisor, forked twice
// into a session of its own, is nobody's parent; it only traces.
#include "supervisor/run.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include <fstream>

#include "remote/node.h"
#include "supervisor/greeting.h"
#include "supervisor/job.h"

namespace omx {

namespace {

// What the original process and the supervisor share between fork and exec.
struct Handshake {
    UniqueFd go_read, go_write;      // original -> supervisor: you may seize me
    UniqueFd word_read, word_write;  // supervisor -> original: its pid, then "+" (go on) or a sentence
};

int complain(std::string_view what, int status) {
    fmt::print(stderr, "omxsup: {}\n", what);
    return status;
}

Status make_pipe(UniqueFd& read_end, UniqueFd& write_end) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) return fail_errno("pipe");
    read_end.reset(fds[0]);
    write_end.reset(fds[1]);
    return {};
}

// ---- the supervisor's side ----

struct NodeConnection {
    UniqueFd link;
    UniqueFd lane_door;  // of the embedded node, which has no address
};

// The embedded node is a child of the supervisor, not of the command.
Result<NodeConnection> start_local_node(const RunOptions& o) {
    int pair[2], doors[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return fail_errno("socketpair");
    UniqueFd ours(pair[0]), theirs(pair[1]);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, doors) != 0) return fail_errno("socketpair");
    UniqueFd our_door(doors[0]), its_door(doors[1]);
    pid_t pid = fork();
    if (pid < 0) return fail_errno("fork");
    if (pid == 0) {
        // Nothing else may live on in the node: a copy of the supervisor's ring, say, would keep its link open after
        // its end.
        constexpr int socket = 3, door = 4;
        int kept_door = fcntl(its_door.get(), F_DUPFD_CLOEXEC, 5);  // may be number 3 itself
        if (theirs.get() != socket && dup3(theirs.get(), socket, O_CLOEXEC) < 0) _exit(1);
        if (dup3(kept_door, door, O_CLOEXEC) < 0) _exit(1);
        close_range(5, ~0u, 0);
        NodeOptions node;
        node.name = "local";
        node.link = o.link;
        node.lanes = o.lanes;
        _exit(embedded_node(socket, door, node));
    }
    return NodeConnection{std::move(ours), std::move(our_door)};
}

Result<NodeConnection> connect_node(const RunOptions& o) {
    if (o.where == RunOptions::Where::local_node) return start_local_node(o);
    auto address = Address::parse(o.node);
    if (!address) return std::unexpected(address.error());
    auto link = connect_to(*address, kConnectMs);
    if (!link) return std::unexpected(link.error());
    return NodeConnection{std::move(*link), {}};
}

// All that was inherited goes: a supervisor that held the command's pipes open would change when readers see their end.
void let_go_of_everything(std::initializer_list<UniqueFd*> kept) {
    int next = 3;
    for (auto* fd : kept) {  // to the front, in order, then close the rest
        if (!fd->valid()) continue;
        fd->reset(fcntl(fd->get(), F_DUPFD_CLOEXEC, 16));
    }
    for (auto* fd : kept) {
        if (!fd->valid()) continue;
        dup3(fd->get(), next, O_CLOEXEC);
        fd->reset(next++);
    }
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++) dup2(null, fd);
    close_range(static_cast<unsigned>(next), ~0u, 0);
    if (chdir("/") != 0) {
    }
    umask(022);
    setsid();
}

// Each process of the job and each file that the node fetches costs a descriptor; the shell's 1024 are soon used up.
void raise_limit_of_files() {
    rlimit files{};
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

struct Outputs {
    UniqueFd stats, trace, messages;
};

Status wait_for_leave(Handshake& hs) {
    pid_t self = getpid();
    if (write(hs.word_write.get(), &self, sizeof self) != sizeof self) return fail_errno("write");
    char go;
    if (read(hs.go_read.get(), &go, 1) != 1) return fail("the original process is gone");
    return {};
}

void supervise(const RunOptions& o, HomePid root, Handshake hs, Outputs out) {
    // These are ours by now; the destructors of closed numbers below must find -1.
    hs.go_write.reset();
    hs.word_read.reset();
    let_go_of_everything({&hs.go_read, &hs.word_write, &out.stats, &out.trace, &out.messages});
    prctl(PR_SET_NAME, "omxsup");
    raise_limit_of_files();
    auto tell = [&](const std::string& sentence) {
        (void)!write(hs.word_write.get(), sentence.data(), sentence.size());
    };

    LoopKind kind = o.link == "epoll"      ? LoopKind::epoll
                    : o.link == "io_uring" ? LoopKind::io_uring
                                           : LoopKind::automatic;
    if (auto allowed = wait_for_leave(hs); !allowed) return;
    auto loop = Loop::make(kind);
    if (!loop) return tell(loop.error().what);
    auto connection = connect_node(o);
    if (!connection) return tell(connection.error().what);
    Link link(plain_channel(std::move(connection->link), o.patience_s), **loop);
    auto node = greet(link, o.node, hello_of_home(fmt::format("{}", fmt::join(o.command, " "))));
    if (!node) return tell(node.error().what);
    // Last, because from here on our end is the original's: EXITKILL would keep it from telling why we failed.
    if (auto held = tracee::seize(root); !held) return tell(held.error().what);
    JobSetup setup{.root = root,
                   .node_name = node->host,
                   .stats_file = std::move(out.stats),
                   .trace_file = std::move(out.trace),
                   .where_defaulted = o.where_defaulted,
                   .lanes = o.lanes != "off",
                   .lane_door = std::move(connection->lane_door),
                   .messages = std::move(out.messages),
                   .limits = o.limits};
    Job job(std::move(setup), **loop, link);
    tell("+");
    hs.go_read.reset();
    hs.word_write.reset();
    if (auto done = job.run(); !done) _exit(1);
}

// ---- the original process's side ----

Result<UniqueFd> open_output(const std::optional<std::string>& where) {
    if (!where) return UniqueFd();
    UniqueFd fd(where->empty() ? fcntl(2, F_DUPFD_CLOEXEC, 3)
                               : open(where->c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666));
    if (!fd) return fail_errno(fmt::format("can't write {}", where->empty() ? "to standard error" : *where));
    return fd;
}

// Forks twice, so that the supervisor is a child of init and the command finds no child that it didn't make.
Status fork_supervisor(const RunOptions& o, Handshake& hs) {
    Outputs out;
    auto stats = open_output(o.stats), trace = open_output(o.trace);
    if (!stats) return std::unexpected(stats.error());
    if (!trace) return std::unexpected(trace.error());
    out.stats = std::move(*stats);
    out.trace = std::move(*trace);
    out.messages = UniqueFd(fcntl(2, F_DUPFD_CLOEXEC, 3));
    HomePid root(getpid());
    pid_t between = fork();
    if (between < 0) return fail_errno("fork");
    if (between == 0) {
        if (fork() == 0) supervise(o, root, std::move(hs), std::move(out));
        _exit(0);
    }
    int status = 0;
    while (waitpid(between, &status, 0) < 0 && errno == EINTR) {
    }
    hs.go_read.reset();
    hs.word_write.reset();
    return {};
}

Status wait_until_held(Handshake& hs) {
    pid_t supervisor = 0;
    if (read(hs.word_read.get(), &supervisor, sizeof supervisor) != sizeof supervisor)
        return fail("the supervisor did not start");
    prctl(PR_SET_PTRACER, supervisor);  // Yama: let this one trace us; elsewhere EINVAL, harmless
    if (write(hs.go_write.get(), "g", 1) != 1) return fail_errno("write");
    char buffer[4096];  // one write, one read: shorter than PIPE_BUF
    ssize_t n;
    while ((n = read(hs.word_read.get(), buffer, sizeof buffer)) < 0 && errno == EINTR) {
    }
    if (n <= 0) return fail("the supervisor died");
    std::string sentence(buffer, static_cast<size_t>(n));
    return sentence == "+" ? Status{} : fail(sentence);
}

int exec_command(const RunOptions& o) {
    std::vector<char*> argv;
    for (auto& word : o.command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    int status = errno == ENOENT ? kExitNotFound : kExitCannotExecute;
    return complain(fmt::format("{}: {}", argv[0], status == kExitNotFound ? "command not found" : strerror(errno)),
                    status);
}

int run_at_home(const RunOptions& o) {
    auto stats = open_output(o.stats);
    if (!stats) return complain(stats.error().what, kExitOurFailure);
    if (*stats) {
        // A job that may not leave isn't traced, so there is nothing to count: the file says where it ran and why.
        JobStats s;
        s.node = "home";
        s.where_defaulted = o.where_defaulted;
        s.processes.push_back({getpid(), o.command.at(0), "home",
                               o.where_defaulted ? "neither --on nor $OMXSUP_ON names a node" : "--home", 0, 0, 0, 0});
        auto text = s.json({});
        (void)!write(stats->get(), text.data(), text.size());
    }
    return exec_command(o);
}

}  // namespace

int run_main(const RunOptions& o) {
    if (o.where == RunOptions::Where::home) return run_at_home(o);
    Handshake hs;
    if (auto s = make_pipe(hs.go_read, hs.go_write); !s) return complain(s.error().what, kExitOurFailure);
    if (auto s = make_pipe(hs.word_read, hs.word_write); !s) return complain(s.error().what, kExitOurFailure);
    if (auto s = fork_supervisor(o, hs); !s) return complain(s.error().what, kExitOurFailure);
    if (auto s = wait_until_held(hs); !s) return complain(s.error().what, kExitOurFailure);
    return exec_command(o);
}

}  // namespace omx
