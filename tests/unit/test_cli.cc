// What the words of a command line mean; above all, where COMMAND begins.
#include "supervisor/cli.h"
#include <cstdlib>
#include <doctest/doctest.h>

using namespace omx;

namespace {

std::expected<Invocation, Finished> parse(std::vector<std::string> words) {
    words.insert(words.begin(), "omxsup");
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    return parse_command_line(static_cast<int>(words.size()), argv.data());
}

RunOptions run(std::vector<std::string> words) {
    words.insert(words.begin(), "run");
    auto parsed = parse(std::move(words));
    REQUIRE(parsed);
    return std::get<RunOptions>(*parsed);
}

using Words = std::vector<std::string>;
using Where = RunOptions::Where;

TEST_CASE("everything from the first word that is no option belongs to the command") {
    CHECK(run({"ls", "--on", "x", "--stats"}).command == Words{"ls", "--on", "x", "--stats"});
    CHECK(run({"--on", "h:1", "ls"}).command == Words{"ls"});
    CHECK(run({"--on=h:1", "ls", "-l"}).command == Words{"ls", "-l"});
    CHECK(run({"run", "node"}).command == Words{"run", "node"});
    CHECK(run({"-"}).command == Words{"-"});
}

TEST_CASE("two dashes end the options once") {
    CHECK(run({"--", "--on"}).command == Words{"--on"});
    CHECK(run({"--local-node", "--", "echo", "--", "b"}).command == Words{"echo", "--", "b"});
    CHECK(run({"--", "--"}).command == Words{"--"});
}

TEST_CASE("stats and trace take a file only with an equals sign") {
    CHECK(run({"--stats", "ls"}).stats == "");
    CHECK(run({"--stats=f", "--trace", "ls"}).stats == "f");
    CHECK(run({"--stats=f", "--trace", "ls"}).trace == "");
    CHECK(run({"ls"}).stats == std::nullopt);
    CHECK(run({"--stats", "--", "ls"}).command == Words{"ls"});
}

TEST_CASE("where a command runs: the option, else the environment, else home") {
    unsetenv("OMXSUP_ON");
    CHECK(run({"ls"}).where == Where::home);
    CHECK(run({"ls"}).where_defaulted);
    CHECK_FALSE(run({"--home", "ls"}).where_defaulted);
    setenv("OMXSUP_ON", "far:7", 1);
    CHECK(run({"ls"}).where == Where::on);
    CHECK(run({"ls"}).node == "far:7");
    CHECK(run({"--on", "near:7", "ls"}).node == "near:7");
    CHECK(run({"--local-node", "ls"}).where == Where::local_node);
    CHECK(run({"--home", "ls"}).where == Where::home);
    unsetenv("OMXSUP_ON");
}

TEST_CASE("wrong arguments are our failure, status 125") {
    for (auto& words : std::vector<Words>{{}, {"run"}, {"run", "--"}, {"run", "--nonsense", "ls"}, {"run", "--on"},
                                          {"run", "--home", "--local-node", "ls"}, {"run", "--on", "", "ls"},
                                          {"run", "--link", "carrier-pigeon", "ls"}, {"run", "--lanes", "fast", "ls"},
                                          {"run", "--limit", "patience=1", "ls"}, {"run", "--limit=files", "ls"},
                                          {"node"}, {"nonsense"}, {"node", "--listen", "h:1", "more"},
                                          {"node", "--listen", "h:1", "--without=everything"},
                                          {"syscalls", "--json", "--markdown"}}) {
        auto parsed = parse(words);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().status == 125);
    }
}

TEST_CASE("limits for a node") {
    auto options = run({"--limit", "deputies=7", "--limit=queue-bytes=1000", "ls"});
    CHECK(options.limits.deputies == 7);
    CHECK(options.limits.queue_bytes == 1000);
    CHECK(options.limits.files == JobLimits().files);
    CHECK(options.command == Words{"ls"});
}

TEST_CASE("a node's options") {
    auto parsed = parse({"node", "--listen", "unix:/x", "--name", "n", "--low-latency", "--link=epoll",
                         "--without=cache,sync-wake-up", "--lazy-above=64K"});
    REQUIRE(parsed);
    auto& node = std::get<NodeOptions>(*parsed);
    CHECK(node.listen == "unix:/x");
    CHECK(node.name == "n");
    CHECK(node.low_latency);
    CHECK_FALSE(node.insecure);
    CHECK(node.link == "epoll");
    CHECK(node.lanes == "auto");
    CHECK(node.lazy_above == 64 << 10);
    CHECK(node.without == Words{"cache", "sync-wake-up"});
}

}  // namespace
