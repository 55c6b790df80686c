// Feeds broken texts of /proc, the node's and home's, to what makes one of the two. fuzz_proc_view SECONDS [SEED]
#include "loader/proc_view.h"
#include "tests/fuzz/mutate.h"
#include <chrono>
#include <cstdio>
#include <fstream>
#include <random>
#include <sstream>

using namespace omx;

namespace {

using fuzz::Random, fuzz::noise;

std::string own(std::string_view file) {
    std::ifstream in("/proc/self/" + std::string(file));
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

// Words that such texts are made of, in places where they don't belong.
std::string broken(const std::string& text, Random& random) {
    static const char* const words[] = {"\n", " ", ":", "-", "ffffffffffffffff", "99999999999999999999999", ")", "(",
                                        "file=1:2", "[vdso]", "/memfd:omxsup (deleted)", "VmSize:\t", "\\012", ""};
    auto out = text;
    for (auto times = random() % 6; times-- > 0 && !out.empty();) {
        auto at = random() % out.size();
        switch (random() % 4) {
            case 0: out.insert(at, words[random() % std::size(words)]); break;
            case 1: out.erase(at, random() % 40); break;
            case 2: out[at] = static_cast<char>(random()); break;
            default: out.resize(at); break;
        }
    }
    return out;
}

}  // namespace

int main(int argc, char** argv) {
    double seconds = argc > 1 ? std::atof(argv[1]) : 5;
    uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 0) : std::random_device()();
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    std::fflush(stdout);
    Random random(seed);
    std::vector<std::string> texts;
    for (uint8_t n = 0; auto file = proc_file(n); n++) texts.push_back(is_text(*file) ? own(name(*file)) : "");
    static const FileKey key{.handle = 1, .device = 2, .inode = 3};
    NodeView node{.ours = {{0x1000, 0x7f0000000000}, {0, ~0ull}}, .file = [](FileId) { return &key; }};
    auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    size_t runs = 0;
    while (std::chrono::steady_clock::now() < until) {
        auto n = static_cast<uint8_t>(random() % texts.size());
        auto text = broken(texts[n], random), home = broken(texts[n], random), maps = broken(texts[0], random);
        node.ours.resize(random() % 3);
        auto sent = in_homes_terms(*proc_file(n), text, maps, node);
        HomeView view{.text = home, .path_of = {}, .supervisor = 1, .self = random() % 2 == 0, .call = {}};
        view.path_of = [&](uint64_t, uint64_t) { return random() % 2 ? "/a b\n" : ""; };
        (void)as_at_home(*proc_file(n), random() % 3 ? std::optional<std::string_view>(sent) : std::nullopt, view);
        (void)parse_proc_path(broken("/proc/4711/task/4712/maps", random));
        runs++;
    }
    std::printf("%zu texts\n", runs);
    return 0;
}
