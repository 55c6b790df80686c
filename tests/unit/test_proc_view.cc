#include "loader/proc_view.h"
#include "supervisor/proc_texts.h"
#include <doctest/doctest.h>
#include <fstream>
#include <sstream>
#include <sys/sysmacros.h>
#include <unistd.h>

using namespace omx;

namespace {

const FileKey kLibrary{.handle = 0, .device = makedev(0xfe, 0), .inode = 332383, .bytes = 1};

NodeView node_view() {
    NodeView view;
    view.ours = {{0x7f0000100000, 0x7f0000101000}, {0x7ffc10005000, 0x7ffc10007000}};
    view.file = [](FileId id) { return id.inode == 77 ? &kLibrary : nullptr; };
    return view;
}

HomeView home_view(std::string_view text) {
    HomeView view{.text = text, .path_of = {}, .supervisor = 99, .call = {}};
    view.path_of = [](uint64_t device, uint64_t inode) {
        return device == kLibrary.device && inode == kLibrary.inode ? "/usr/lib/libc.so.6" : "";
    };
    return view;
}

constexpr std::string_view kNodesMaps =
    "559f0d800000-559f0d802000 r-xp 00001000 00:01 77                         /memfd:omxsup (deleted)\n"
    "559f0da00000-559f0da21000 rw-p 00000000 00:00 0                          [heap]\n"
    "7f0000000000-7f0000100000 rw-p 00000000 00:00 0 \n"
    "7f0000100000-7f0000101000 r-xp 00000000 00:00 0 \n"
    "7f0000101000-7f0000105000 r--p 00000000 00:00 0                          [vvar]\n"
    "7f0000105000-7f0000107000 r-xp 00000000 00:00 0                          [vdso]\n"
    "7ffc10000000-7ffc10004000 rw-p 00000000 00:00 0                          [stack]\n"
    "7ffc10005000-7ffc10007000 r-xp 00000000 00:00 0 \n"
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";
constexpr std::string_view kDeputysMaps =
    "100000000000-100000001000 r-xp 00000000 00:00 0 \n"
    "100100000000-100100010000 rw-s 00000000 00:01 5                          /memfd:omxsup (deleted)\n"
    "7ffc10000000-7ffc10004000 rw-p 00000000 00:00 0                          [stack]\n"
    "7ffc10004000-7ffc10005000 r--p 00000000 00:00 0                          [vvar]\n"
    "7ffc10005000-7ffc10007000 r-xp 00000000 00:00 0                          [vdso]\n"
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

std::string own(const char* file) {
    std::ifstream in(std::string("/proc/self/") + file);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

}  // namespace

TEST_CASE("a guest's map has home's files and names, and nothing of ours") {
    auto sent = in_homes_terms(ProcFile::maps, kNodesMaps, "", node_view());
    CHECK(as_at_home(ProcFile::maps, sent, home_view(kDeputysMaps)) ==
          "559f0d800000-559f0d802000 r-xp 00001000 fe:00 332383                     /usr/lib/libc.so.6\n"
          "559f0da00000-559f0da21000 rw-p 00000000 00:00 0                          [heap]\n"
          "7f0000000000-7f0000100000 rw-p 00000000 00:00 0 \n"
          "7ffc10000000-7ffc10004000 rw-p 00000000 00:00 0                          [stack]\n"
          "7ffc10004000-7ffc10005000 r--p 00000000 00:00 0                          [vvar]\n"
          "7ffc10005000-7ffc10007000 r-xp 00000000 00:00 0                          [vdso]\n"
          "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n");
}

TEST_CASE("a mapping that the kernel has joined with one of ours shows without it") {
    auto joined = in_homes_terms(ProcFile::maps, "7f00000ff000-7f0000101000 r-xp 00000000 00:00 0 \n", "", node_view());
    CHECK(joined == "7f00000ff000-7f0000100000 r-xp 00000000 00:00 0 \n");
}

TEST_CASE("smaps keeps what is said about each mapping that stays") {
    std::string text = "559f0da00000-559f0da21000 rw-p 00000000 00:00 0                          [heap]\n"
                       "Size:                132 kB\nVmFlags: rd wr mr mw me ac \n"
                       "7f0000100000-7f0000101000 r-xp 00000000 00:00 0 \nSize:                  4 kB\n"
                       "7ffc10000000-7ffc10004000 rw-p 00000000 00:00 0                          [stack]\n"
                       "Size:                 16 kB\n";
    CHECK(as_at_home(ProcFile::smaps, in_homes_terms(ProcFile::smaps, text, "", node_view()), home_view("")) ==
          "559f0da00000-559f0da21000 rw-p 00000000 00:00 0                          [heap]\n"
          "Size:                132 kB\nVmFlags: rd wr mr mw me ac \n"
          "7ffc10000000-7ffc10004000 rw-p 00000000 00:00 0                          [stack]\n"
          "Size:                 16 kB\n");
}

TEST_CASE("this very process's maps and smaps go through unchanged") {
    for (auto file : {ProcFile::maps, ProcFile::smaps}) {
        auto text = own(std::string(name(file)).c_str());
        auto sent = in_homes_terms(file, text, "", {});
        CHECK(as_at_home(file, sent, home_view(text)) == text);
    }
}

TEST_CASE("each field of status comes from where it is true") {
    constexpr std::string_view home = "Name:\tcat\nState:\tt (tracing stop)\nPid:\t7\nTracerPid:\t99\nVmSize:\t    100 kB\n"
                                      "VmRSS:\t      96 kB\nSigPnd:\t0000000000000001\nSigBlk:\t0000000000000010\n"
                                      "Seccomp:\t0\nCpus_allowed:\t3\nvoluntary_ctxt_switches:\t4\n";
    constexpr std::string_view node = "Name:\tx\nState:\tS (sleeping)\nPid:\t8\nTracerPid:\t1\nVmSize:\t    3064 kB\n"
                                      "VmRSS:\t    1616 kB\nSigPnd:\t0000000000000004\nSigBlk:\t0000000000000200\n"
                                      "Seccomp:\t2\nCpus_allowed:\tff\nvoluntary_ctxt_switches:\t3\n";
    auto view = home_view(home);
    view.self = true;
    auto sent = in_homes_terms(ProcFile::status, node, kNodesMaps, node_view());
    CHECK(as_at_home(ProcFile::status, sent, view) ==
          "Name:\tcat\nState:\tR (running)\nPid:\t7\nTracerPid:\t0\nVmSize:\t    3052 kB\n"
          "VmRSS:\t    1616 kB\nSigPnd:\t0000000000000005\nSigBlk:\t0000000000000200\n"
          "Seccomp:\t0\nCpus_allowed:\t3\nvoluntary_ctxt_switches:\t7\n");
    CHECK(as_at_home(ProcFile::status, std::nullopt, home_view("TracerPid:\t98\n")) == "TracerPid:\t98\n");
    CHECK(as_at_home(ProcFile::status, std::nullopt, home_view("TracerPid:\t99\n")) == "TracerPid:\t0\n");
}

TEST_CASE("what a process is doing is said by the half that knows") {
    auto state = [](std::string_view home, std::string_view node, auto... set) {
        auto text = fmt::format("State:\t{}\n", home);
        auto view = home_view(text);
        (set(view), ...);
        return as_at_home(ProcFile::status, fmt::format("State:\t{}\n", node), view).substr(7, 1);
    };
    auto in_call = [](HomeView& v) { v.in_call = true; };
    auto stopped = [](HomeView& v) { v.stopped = true; };
    CHECK(state("S", "R") == "R");                          // it computes; its deputy waits for calls
    CHECK(state("S", "t") == "R");                          // its worker has it for a moment
    CHECK(state("D", "S", in_call) == "D");                 // it waits for a disk at home
    CHECK(state("t", "S", in_call) == "S");
    CHECK(state("t", "R", stopped) == "T");
    CHECK(state("Z", "R") == "Z");
}

TEST_CASE("stat adds up the time of both halves, whatever the program is called") {
    std::string head = "7 (a) b) ";
    auto fields = [](std::string_view state, int at, std::string_view value) {
        std::string text(state);
        for (int i = 4; i <= 52; i++) text += ' ' + (i == at ? std::string(value) : std::string("1"));
        return text + '\n';
    };
    auto home = head + fields("S", 14, "30");
    NodeView view = node_view();
    view.user = 12;
    auto sent = in_homes_terms(ProcFile::stat, "8 (x) " + fields("R", 24, "4000"), kNodesMaps, view);
    auto text = as_at_home(ProcFile::stat, sent, home_view(home));
    CHECK(text.starts_with("7 (a) b) R 1 "));
    std::istringstream words(text.substr(head.size()));
    std::vector<std::string> all{"", "", ""};
    for (std::string word; words >> word;) all.push_back(word);
    REQUIRE(all.size() == 53);
    CHECK(all[14] == "42");
    CHECK(all[24] == "4000");
    CHECK(all[35] == "0");
    CHECK(all[10] == "2");
}

TEST_CASE("whose file a path of /proc names") {
    auto process = parse_proc_path("/proc/4711/maps");
    REQUIRE(process);
    CHECK(process->task == HomeTid(4711));
    CHECK_FALSE(process->of_thread);
    CHECK(process->file == ProcFile::maps);
    auto thread = parse_proc_path("/proc/4711/task/4712/status");
    REQUIRE(thread);
    CHECK(thread->task == HomeTid(4712));
    CHECK(thread->of_thread);
    for (auto other : {"", "/", "maps", "/proc/maps", "/proc/4711/limits", "/proc/4711/maps (deleted)", "/proc/x/maps",
                       "/proc/-3/maps", "/proc/99999999999/maps", "/proc/4711/fdinfo/3"})
        CHECK_FALSE(parse_proc_path(other));
}

TEST_CASE("who reads on, reads on in the text that was made for him") {
    ProcTexts texts;
    HomePid a(10), b(11);
    texts.keep(a, 3, 100, "one");
    texts.keep(b, 3, 100, "two");
    CHECK(*texts.find(a, 3, 100) == "one");
    CHECK(*texts.find(a, 5, 100) == "one");                 // a duplicate of 3
    CHECK(texts.find(a, 3, 101) == nullptr);
    texts.keep(a, 3, 100, "one, later");
    CHECK(*texts.find(a, 3, 100) == "one, later");
    texts.forget(a);
    CHECK(texts.find(a, 3, 100) == nullptr);
    CHECK(*texts.find(b, 3, 100) == "two");
    for (ino_t i = 0; i < 3 * ProcTexts::kMost; i++) texts.keep(b, 4, i, "x");
    CHECK(texts.size() == ProcTexts::kMost);
}
