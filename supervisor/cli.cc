#include "supervisor/cli.h"
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fmt/format.h>

namespace omx {
namespace {

constexpr const char* kVersion = "omxsup " OMX_VERSION;
struct Parsed {
    RunOptions run;
    NodeOptions node;
    DoctorOptions doctor;
    SyscallsOptions syscalls;
    PsOptions ps;
    MoveOptions move;
    bool local_node = false, home = false, json = false, markdown = false;
    std::string stats, trace;            // empty: stderr
    std::vector<std::string> limits;     // NAME=N
    std::vector<int64_t> skew;           // of CLOCK_REALTIME, CLOCK_MONOTONIC
};

void add_link_option(CLI::App& app, std::string& link) {
    // Hidden: only tests and fault-finding want to force the fallback.
    app.add_option("--link", link)->check(CLI::IsMember({"auto", "io_uring", "epoll"}))->group("");
}

void add_lanes_option(CLI::App& app, std::string& lanes) {
    app.add_option("--lanes", lanes)->check(CLI::IsMember({"auto", "off", "always"}))->group("");      // likewise
}

void add_patience_option(CLI::App& app, unsigned& seconds) {
    app.add_option("--patience", seconds)->check(CLI::Range(1, 86400))->group("");                     // likewise
}

CLI::App* add_run(CLI::App& app, Parsed& p) {
    auto run = app.add_subcommand("run", "Run COMMAND on another node, or as told");
    run->footer("omxsup run [OPTIONS] [--] COMMAND [ARG...]: COMMAND begins at the first word that is no option.\n"
                "Without --on, --local-node and --home: the node named by $OMXSUP_ON if that is set, else home.");
    auto on = run->add_option("--on", p.run.node, "Node to run on: HOST:PORT or unix:PATH")->type_name("ADDR");
    auto local = run->add_flag("--local-node", p.local_node, "Run on a node started on this machine for this job only");
    auto home = run->add_flag("--home", p.home, "Run here, untouched");
    on->excludes(local, home);
    local->excludes(home);
    auto report = [run](const char* option, std::string& file, const char* what) {
        run->add_option(option, file, what)->expected(0, 1)->type_name("[=FILE]");
    };
    report("--stats", p.stats, "At the end tell what the job cost, to FILE or stderr");
    report("--trace", p.trace, "Tell every forwarded call, to FILE or stderr");
    run->add_option("--limit", p.limits, "The most that a node may take up here: deputies=N, files=N, queue-bytes=N")
        ->take_all()->allow_extra_args(false)->type_name("NAME=N");
    add_link_option(*run, p.run.link);
    add_lanes_option(*run, p.run.lanes);
    add_patience_option(*run, p.run.patience_s);
    return run;
}

CLI::App* add_node(CLI::App& app, Parsed& p) {
    auto node = app.add_subcommand("node", "Take in programs from other machines");
    node->add_option("--listen", p.node.listen, "HOST:PORT or unix:PATH")->required()->type_name("ADDR");
    node->add_option("--name", p.node.name, "Name to show (default: the host's)");
    node->add_flag("--low-latency", p.node.low_latency, "Keep the CPUs out of deep sleep (needs /dev/cpu_dma_latency)");
    node->add_flag("--insecure", p.node.insecure, "Serve whoever connects; links aren't encrypted yet");
    node->add_flag("--all-cpus", p.node.all_cpus, "Guests may use CPUs whose numbers their home doesn't have");
    node->add_option("--cache-bytes", p.node.cache_bytes, "File contents kept for later guests")
        ->transform(CLI::AsSizeValue(false));
    node->add_option("--lazy-above", p.node.lazy_above, "Mapped files bigger than that are fetched as they are touched")
        ->transform(CLI::AsSizeValue(false));
    node->add_option("--without", p.node.without)->delimiter(',')->check(CLI::IsMember(kForegone))->group("");
    node->add_option("--test-skew", p.skew)->delimiter(',')->expected(1, 2)->group("");      // likewise
    node->add_flag("--ignore-cpu", p.node.ignore_cpu)->group("");      // tests only
    node->add_option("--test-cpu", p.node.test_cpu)->group("");
    add_link_option(*node, p.node.link);
    add_lanes_option(*node, p.node.lanes);
    add_patience_option(*node, p.node.patience_s);
    return node;
}

CLI::App* add_doctor(CLI::App& app, Parsed& p) {
    auto doctor = app.add_subcommand("doctor", "Try out what this kernel, and that node, offer");
    doctor->add_option("NODE", p.doctor.node, "HOST:PORT or unix:PATH of a node to try");
    doctor->add_flag("--json", p.doctor.json, "Print JSON");
    return doctor;
}

CLI::App* add_syscalls(CLI::App& app, Parsed& p) {
    auto syscalls = app.add_subcommand("syscalls", "Print where each system call runs");
    auto json = syscalls->add_flag("--json", p.json, "Print JSON");
    syscalls->add_flag("--markdown", p.markdown, "Print docs/syscalls.md")->excludes(json);
    return syscalls;
}

CLI::App* add_ps(CLI::App& app, Parsed& p) {
    auto ps = app.add_subcommand("ps", "Show the processes of running jobs, and where each is");
    ps->add_flag("--json", p.ps.json, "Print JSON");
    return ps;
}

CLI::App* add_migrate(CLI::App& app, Parsed& p) {
    auto migrate = app.add_subcommand("migrate", "Bring a process of a job home; it stays there");
    migrate->add_option("PID", p.move.pid, "Its number, here")->required()->check(CLI::PositiveNumber);
    migrate->add_option("PLACE", p.move.to, "home: the only place yet")->required()->check(CLI::IsMember({"home"}));
    return migrate;
}

CLI::App* add_detach(CLI::App& app, Parsed& p) {
    auto detach = app.add_subcommand("detach", "Bring a process of a job home and let go of it");
    detach->add_option("PID", p.move.pid, "Its number, here")->required()->check(CLI::PositiveNumber);
    return detach;
}

// Where COMMAND begins in `run`'s words: behind "--" or at the first word that is no option. CLI11 has prefix_command
// for this, but lets "--" through in some places only, so COMMAND is cut off before CLI11 sees it.
int find_command(const CLI::App& run, int argc, char** argv) {
    int at = 2;
    for (; at < argc && argv[at][0] == '-' && argv[at][1] != 0; ++at) {
        if (std::string_view(argv[at]) == "--") return at;
        auto option = run.get_option_no_throw(argv[at]);           // null for --on=X too, which has its value with it
        if (option != nullptr && option->get_items_expected_min() > 0) ++at;
    }
    return std::min(at, argc);
}

bool set_limit(std::string_view word, JobLimits& limits) {
    auto name = word.substr(0, word.find('='));
    auto limit = name == "deputies"      ? &limits.deputies
                 : name == "files"       ? &limits.files
                 : name == "queue-bytes" ? &limits.queue_bytes
                                         : nullptr;
    if (!limit || name.size() == word.size()) return false;
    auto [end, error] = std::from_chars(word.data() + name.size() + 1, word.data() + word.size(), *limit);
    return error == std::errc() && end == word.data() + word.size();
}

std::string finish_run(const CLI::App& run, Parsed& p) {
    using Where = RunOptions::Where;
    if (p.local_node) {
        p.run.where = Where::local_node;
    } else if (run.count("--on") != 0) {
        p.run.where = Where::on;
    } else if (!p.home) {
        const char* on = std::getenv("OMXSUP_ON");
        p.run.node = on ? on : "";
        p.run.where_defaulted = p.run.node.empty();
        p.run.where = p.run.where_defaulted ? Where::home : Where::on;
    }
    if (p.run.where == Where::on && p.run.node.empty()) return "run: --on needs an address";
    for (auto& word : p.limits)
        if (!set_limit(word, p.run.limits)) return fmt::format("run: --limit {} says nothing", word);
    if (run.count("--stats") != 0) p.run.stats = p.stats;
    if (run.count("--trace") != 0) p.run.trace = p.trace;
    return p.run.command.empty() ? "run: a COMMAND is missing" : "";
}

std::unexpected<Finished> wrong(std::string what) {
    for (char& c : what) c = c == '\n' ? ' ' : c;      // one line, whatever CLI11 has to say
    fmt::print(stderr, "omxsup: {} (see omxsup --help)\n", what);
    return std::unexpected(Finished{kExitOurFailure});
}

}  // namespace

std::expected<Invocation, Finished> parse_command_line(int argc, char** argv) {
    CLI::App app("omxsup: run a program on another Linux machine as if it ran here", "omxsup");
    app.set_version_flag("--version", kVersion);
    app.require_subcommand(1);
    Parsed p;
    auto run = add_run(app, p);
    auto node = add_node(app, p);
    auto doctor = add_doctor(app, p);
    add_syscalls(app, p);
    auto ps = add_ps(app, p);
    auto migrate = add_migrate(app, p), detach = add_detach(app, p);
    int ours = argc;
    if (argc > 1 && std::string_view(argv[1]) == "run") {
        ours = find_command(*run, argc, argv);
        int command = ours < argc && std::string_view(argv[ours]) == "--" ? ours + 1 : ours;
        p.run.command.assign(argv + command, argv + argc);
    }
    try {
        app.parse(ours, argv);
    } catch (const CLI::Success& asked) {              // --help, --version
        return std::unexpected(Finished{app.exit(asked)});
    } catch (const CLI::ParseError& mistake) {
        return wrong(mistake.what());
    }
    if (run->parsed()) {
        if (auto mistake = finish_run(*run, p); !mistake.empty()) return wrong(mistake);
        return std::move(p.run);
    }
    if (node->parsed()) {
        std::ranges::copy(p.skew, p.node.test_skew);
        return std::move(p.node);
    }
    if (doctor->parsed()) return std::move(p.doctor);
    if (ps->parsed()) return p.ps;
    p.move.detach = detach->parsed();
    if (migrate->parsed() || p.move.detach) return std::move(p.move);
    using Format = SyscallsOptions::Format;
    p.syscalls.format = p.json ? Format::json : p.markdown ? Format::markdown : Format::text;
    return p.syscalls;
}

}  // namespace omx
