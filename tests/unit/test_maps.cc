#include "loader/address_gaps.h"
#include "loader/capture.h"
#include "loader/proc_files.h"
#include "loader/vdso_symbols.h"
#include "loader/blobs.h"
#include <doctest/doctest.h>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>

using namespace omx;

TEST_CASE("a memory map with its flags") {
    auto maps = parse_smaps(
        "559f0d800000-559f0d802000 rw-p 00000000 00:00 0 \n"
        "Size:                  8 kB\n"
        "Anonymous:             4 kB\n"
        "VmFlags: rd wr mr mw me ac dc nh \n"
        "7ffcce4aa000-7ffcce4cb000 rw-p 00000000 00:00 0                          [stack]\n"
        "FilePmdMapped:         0 kB\n"
        "VmFlags: rd wr mr mw me gd ac\n");
    REQUIRE(maps);
    REQUIRE(maps->size() == 2);
    CHECK((*maps)[0].traits == (trait::dont_fork | trait::no_huge_pages));
    CHECK((*maps)[1].traits == trait::grows_down);
    CHECK((*maps)[1].path == "[stack]");
    CHECK_FALSE(parse_smaps("Size: 4 kB\n"));
}

TEST_CASE("lines of a memory map") {
    auto maps = parse_maps(
        "559f0d800000-559f0d802000 r--p 00001000 fe:00 332383                     /usr/bin/a b (deleted)\n"
        "559f0d900000-559f0d901000 rwxs 00000000 00:01 7                          /dev/shm/x\\012y\n"
        "7ffcce4aa000-7ffcce4cb000 rw-p 00000000 00:00 0                          [stack]\n"
        "7fffe0000000-7fffe0001000 ---p 00000000 00:00 0 \n"
        "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n");
    REQUIRE(maps);
    REQUIRE(maps->size() == 5);
    const auto& m = *maps;
    CHECK(m[0].start == 0x559f0d800000);
    CHECK(m[0].end == 0x559f0d802000);
    CHECK(m[0].offset == 0x1000);
    CHECK(m[0].prot == PROT_READ);
    CHECK_FALSE(m[0].shared);
    CHECK(m[0].dev_major == 0xfe);
    CHECK(m[0].dev_minor == 0);
    CHECK(m[0].inode == 332383);
    CHECK(m[0].path == "/usr/bin/a b (deleted)");
    CHECK(m[1].shared);
    CHECK(m[1].prot == (PROT_READ | PROT_WRITE | PROT_EXEC));
    CHECK(m[1].path == "/dev/shm/x\ny");
    CHECK(m[2].path == "[stack]");
    CHECK(m[3].prot == 0);
    CHECK(m[3].path == "");
    CHECK(m[4].end == 0xffffffffff601000);
}

TEST_CASE("what is no memory map is refused") {
    CHECK(parse_maps("")->empty());
    for (const char* bad : {"\n", "zz", "1000-2000", "1000-2000 r--p", "1000-2000 r--x 0 0:0 0", "1000-2000 rw-p 0 00:00",
                            "2000-1000 r--p 00000000 00:00 0", "10000000000000000-2 r--p 00000000 00:00 0",
                            "1000-2000 r-p 00000000 00:00 0"})
        CHECK_FALSE(parse_maps(bad));
}

TEST_CASE("our own memory map is understood") {
    std::ostringstream text;
    text << std::ifstream("/proc/self/maps").rdbuf();
    auto maps = parse_maps(text.str());
    REQUIRE(maps);
    bool stack = false;
    for (const auto& e : *maps) stack |= e.path == "[stack]" && e.prot == (PROT_READ | PROT_WRITE);
    CHECK(stack);
}

TEST_CASE("a process's layout from its stat line") {
    std::string text = "42 (a) b) R";
    for (int field = 4; field <= 52; field++) text += fmt::format(" {}", field * 1000);
    auto m = parse_stat(text + "\n");
    REQUIRE(m);
    CHECK(m->start_code == 26000);
    CHECK(m->end_code == 27000);
    CHECK(m->start_stack == 28000);
    CHECK(m->start_data == 45000);
    CHECK(m->start_brk == 47000);
    CHECK(m->brk == 47000);
    CHECK(m->env_end == 51000);
    CHECK_FALSE(parse_stat("42 (a) R 1 2 3"));
    CHECK_FALSE(parse_stat("nothing"));
}

TEST_CASE("ignored signals and threads from the status file") {
    auto s = parse_status("Name:\ta\nThreads:\t3\nSigPnd:\t00\nSigIgn:\t0000000000001000\nSigCgt:\tff\n");
    REQUIRE(s);
    CHECK(s->threads == 3);
    CHECK(s->ignored == 0x1000);
    CHECK_FALSE(parse_status("Name:\ta\n"));
}

TEST_CASE("gaps between what is taken") {
    AddressGaps g;
    CHECK(g.lowest(0x1000, 0x9000, 0x8000) == 0x1000);
    CHECK(g.highest(0x1000, 0x9000, 0x2000) == 0x7000);
    g.take(0x3000, 0x4000);
    g.take(0x4000, 0x5000);
    g.take(0x8000, 0x9000);
    CHECK(g.lowest(0x1000, 0x9000, 0x2000) == 0x1000);
    CHECK(g.lowest(0x1000, 0x9000, 0x3000) == 0x5000);
    CHECK(g.lowest(0x2000, 0x9000, 0x2000) == 0x5000);
    CHECK_FALSE(g.lowest(0x1000, 0x9000, 0x4000));
    CHECK(g.highest(0x1000, 0x9000, 0x2000) == 0x6000);
    CHECK(g.highest(0x1000, 0x9000, 0x3000) == 0x5000);
    CHECK(g.highest(0x1000, 0x8000, 0x3000) == 0x5000);
    CHECK(g.highest(0x1000, 0x5000, 0x2000) == 0x1000);
    CHECK_FALSE(g.highest(0x1000, 0x9000, 0x4000));
    g.take(0x0, 0x10000);
    CHECK_FALSE(g.lowest(0x1000, 0x9000, 0x1000));
    CHECK_FALSE(g.highest(0x1000, 0x9000, 0x1000));
}

TEST_CASE("functions and version are found in the kernel's vDSO and in ours") {
    for (View object : {own_vdso(), our_vdso()}) {
        REQUIRE(object.size() > 1000);
        CHECK(object.size() <= 3 * 4096);
        for (const char* name : {"clock_gettime", "gettimeofday", "time", "clock_getres", "getcpu"}) {
            CHECK(vdso_symbol(object, name));
            CHECK(vdso_symbol(object, std::string("__vdso_") + name));
        }
        CHECK_FALSE(vdso_symbol(object, "no such function"));
        CHECK(vdso_version_at(object));
    }
    CHECK(vdso_symbol(our_vdso(), "__omx_clock"));
    struct utsname u;
    uname(&u);
    uint32_t v = kernel_version();
    CHECK(std::string(u.release).starts_with(fmt::format("{}.{}.", v >> 16, v >> 8 & 0xff)));
}

TEST_CASE("broken ELF objects are looked into without harm") {
    Bytes copy(our_vdso().begin(), our_vdso().end());
    for (size_t n = 0; n < copy.size(); n += 3) CHECK_FALSE(vdso_symbol(View(copy).first(n), "no such function"));
    for (size_t n = 0; n < 1500; n++) {
        Bytes broken = copy;
        broken[n] ^= std::byte{0xff};
        auto at = vdso_symbol(View(broken), "__vdso_time");
        CHECK((!at || *at < broken.size()));
        vdso_version_at(View(broken));
    }
}

TEST_CASE("a file just changed has no key for a cache") {
    char name[] = "/tmp/omxsup-test-XXXXXX";
    UniqueFd fd(::mkostemp(name, O_CLOEXEC));
    REQUIRE(fd);
    auto young = key_of(fd.get());
    REQUIRE(young);
    CHECK_FALSE(young->cacheable);
    ::usleep(60000);
    auto old = key_of(fd.get());
    REQUIRE(old);
    CHECK(old->cacheable);
    CHECK(old->same_content(*young));
    ::unlink(name);
    UniqueFd directory(::open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    CHECK_FALSE(key_of(directory.get()));
}

TEST_CASE("what is free between taken addresses") {
    AddressGaps g;
    using Gaps = std::vector<std::pair<uint64_t, uint64_t>>;
    CHECK(g.within(10, 30) == Gaps{{10, 30}});
    g.take(12, 14);
    g.take(20, 25);
    g.take(40, 50);
    CHECK(g.within(10, 30) == Gaps{{10, 12}, {14, 20}, {25, 30}});
    CHECK(g.within(13, 22) == Gaps{{14, 20}});
    CHECK(g.within(20, 25).empty());
    CHECK(g.within(45, 60) == Gaps{{50, 60}});
}
