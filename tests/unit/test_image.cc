#include "loader/image.h"
#include <doctest/doctest.h>
#include <elf.h>
#include <functional>
#include <sys/mman.h>

using namespace omx;

namespace {

// A small but complete image: program, heap, vDSO, stack; contents in the program's data and on the stack.
Image sample() {
    Image i;
    i.pid = HomePid(4711);
    auto& t = i.threads.emplace_back();
    t.tid = HomeTid(4711);
    t.regs.rip = 0x400100;
    t.regs.rsp = 0x7ffc00010ff0;
    t.blocked = 0x10000;
    t.scheduling = {.policy = 3, .nice = 5, .cpus = CpuSet::below(3)};
    i.files.push_back({.handle = 1, .device = 2, .inode = 3, .bytes = 8192, .mtime_ns = 5, .ctime_ns = 6, .cacheable = true});
    i.regions = {{0x400000, 0x401000, PROT_READ | PROT_EXEC, RegionKind::file, 0, 0},
                 {0x401000, 0x402000, PROT_READ | PROT_WRITE, RegionKind::file, 0, 0x1000},
                 {0x402000, 0x404000, PROT_READ | PROT_WRITE, RegionKind::anonymous, -1, 0},
                 {0x7f0000000000, 0x7f0000002000, PROT_READ | PROT_EXEC, RegionKind::vdso, -1, 0},
                 {0x7ffc00000000, 0x7ffc00011000, PROT_READ | PROT_WRITE, RegionKind::stack, -1, 0}};
    i.storage.assign(5000, std::byte{7});
    i.contents = {{0x401ff0, View(i.storage).subspan(0, 16)}, {0x7ffc0000fff0, View(i.storage).subspan(16, 4000)}};
    i.mm = {.start_code = 0x400000, .end_code = 0x401000, .start_data = 0x401000, .end_data = 0x402000,
            .start_brk = 0x500000, .brk = 0x500000, .start_stack = 0x7ffc00010ff0, .arg_start = 0x7ffc00010ff8,
            .arg_end = 0x7ffc00010ff9, .env_start = 0x7ffc00010ff9, .env_end = 0x7ffc00010ff9};
    const Elf64_auxv_t auxv[] = {{AT_PHENT, {56}}, {AT_NULL, {0}}};
    auto bytes = std::as_bytes(std::span(auxv));
    i.auxv.assign(bytes.begin(), bytes.end());
    i.regions[2].traits = trait::dont_fork | trait::locked;
    i.actions[12] = {.handler = 1, .flags = 0, .restorer = 0, .mask = 0};
    i.actions[63] = {.handler = 0x400200, .flags = 0x4000000, .restorer = 0x400300, .mask = 0xff};
    i.limits = {~0ull, ~0ull, ~0ull, ~0ull, 8 << 20, ~0ull};
    i.cpu_timers = {{CpuTimerState::Kind::posix, 3, 1000, 0}, {CpuTimerState::Kind::limit, SIGXCPU, 5, 1'000'000'000}};
    i.personality = 0x40000;
    i.kernel_version = 0x60c00;
    i.name = "a name of 15 ch";
    return i;
}

std::string refusal(const std::function<void(Image&)>& spoil) {
    Image i = sample();
    spoil(i);
    auto decoded = Image::decode(View(encode_frame(i)));
    return decoded ? "" : decoded.error().what;
}

bool says(const std::string& what, std::string_view part) { return what.find(part) != what.npos; }

}  // namespace

TEST_CASE("an image comes back from its encoding") {
    Image i = sample();
    Bytes body = encode_frame(i);
    auto d = Image::decode(View(body));
    REQUIRE(d);
    CHECK(d->pid == i.pid);
    CHECK(d->name == i.name);
    CHECK(d->personality == i.personality);
    CHECK(d->kernel_version == i.kernel_version);
    CHECK(d->auxv == i.auxv);
    CHECK(std::memcmp(&d->mm, &i.mm, sizeof i.mm) == 0);
    CHECK(std::memcmp(&d->limits, &i.limits, sizeof i.limits) == 0);
    CHECK(std::memcmp(&d->actions, &i.actions, sizeof i.actions) == 0);
    REQUIRE(d->threads.size() == 1);
    CHECK(std::memcmp(&d->threads[0].regs, &i.threads[0].regs, sizeof i.threads[0].regs) == 0);
    CHECK(d->threads[0].blocked == i.threads[0].blocked);
    CHECK(d->threads[0].altstack_flags == 2);
    CHECK(d->threads[0].scheduling == i.threads[0].scheduling);
    REQUIRE(d->regions.size() == i.regions.size());
    CHECK(d->regions[1].file_offset == 0x1000);
    CHECK(d->regions[4].kind == RegionKind::stack);
    CHECK(d->regions[2].traits == i.regions[2].traits);
    REQUIRE(d->files.size() == 1);
    CHECK(d->files[0].same_content(i.files[0]));
    REQUIRE(d->cpu_timers.size() == 2);
    CHECK(d->cpu_timers[1].number == SIGXCPU);
    CHECK(d->cpu_timers[1].interval_ns == 1'000'000'000);
    CHECK(encode_frame(*d) == body);
}

TEST_CASE("contents of a decoded image are views into its encoding") {
    Bytes body = encode_frame(sample());
    auto d = Image::decode(View(body));
    REQUIRE(d);
    REQUIRE(d->contents.size() == 2);
    for (const auto& c : d->contents) {
        CHECK(c.data.data() >= body.data());
        CHECK(c.data.data() + c.data.size() <= body.data() + body.size());
    }
    CHECK(d->contents[1].data.size() == 4000);
    CHECK(d->storage.empty());
}

TEST_CASE("every cut of an encoding is refused") {
    Bytes body = encode_frame(sample());
    for (size_t n = 0; n < body.size(); n++) CHECK_FALSE(Image::decode(View(body).first(n)));
    body.push_back(std::byte{0});
    CHECK_FALSE(Image::decode(View(body)));
}

TEST_CASE("regions that a node must not map are refused") {
    CHECK(refusal([](Image&) {}) == "");
    CHECK(says(refusal([](Image& i) { i.threads[0].scheduling.nice = 20; }), "as no kernel does"));
    CHECK(says(refusal([](Image& i) { i.regions[0].start += 1; }), "page aligned"));
    CHECK(says(refusal([](Image& i) { i.regions[0].end += 8; }), "page aligned"));
    CHECK(says(refusal([](Image& i) { std::swap(i.regions[0], i.regions[1]); }), "out of order"));
    CHECK(says(refusal([](Image& i) { i.regions[2].start -= 4096; }), "overlaps"));
    CHECK(says(refusal([](Image& i) { i.regions[0].start = 0; }), "user memory"));
    CHECK(says(refusal([](Image& i) { i.regions[4].end = 0x800000000000; }), "user memory"));
    CHECK(says(refusal([](Image& i) { i.regions[4].end = ~0xfffull; }), "user memory"));
    CHECK(says(refusal([](Image& i) { i.regions[2].end = i.regions[2].start; }), "user memory"));
    CHECK(says(refusal([](Image& i) { i.regions[0].prot = 8; }), "protection"));
    CHECK(says(refusal([](Image& i) { i.regions[2].kind = RegionKind(9); }), "kind"));
    CHECK(says(refusal([](Image& i) { i.regions[0].file = 1; }), "file index"));
    CHECK(says(refusal([](Image& i) { i.regions[0].file = -1; }), "file index"));
    CHECK(says(refusal([](Image& i) { i.regions[2].file = 0; }), "file index"));
    CHECK(says(refusal([](Image& i) { i.regions[0].file_offset = 1; }), "offset"));
    CHECK(says(refusal([](Image& i) { i.regions[0].file_offset = 1ull << 63; }), "offset"));
    CHECK(says(refusal([](Image& i) { i.regions[2].file_offset = 4096; }), "offset"));
    CHECK(says(refusal([](Image& i) { i.regions[3].end += 1 << 20; }), "vDSO"));
    CHECK(says(refusal([](Image& i) { i.regions[2].kind = RegionKind::stack; }), "more than one"));
}

TEST_CASE("contents outside a region of their own are refused") {
    CHECK(says(refusal([](Image& i) { i.contents[0].address = 0x401ff1; }), "content"));        // runs into the next
    CHECK(says(refusal([](Image& i) { i.contents[0].address = 0x404000; }), "content"));
    CHECK(says(refusal([](Image& i) { i.contents[0].address = 0x7f0000000000; }), "content"));  // the vDSO is ours
    CHECK(says(refusal([](Image& i) { std::swap(i.contents[0], i.contents[1]); }), "content"));
    CHECK(says(refusal([](Image& i) { i.contents.push_back(i.contents[1]); }), "content"));
    CHECK(says(refusal([](Image& i) { i.contents[0].data = {}; }), "content"));
    CHECK(says(refusal([](Image& i) { i.contents[1].address = ~0ull - 8; }), "content"));
}

TEST_CASE("threads, layout and the rest are checked") {
    CHECK(says(refusal([](Image& i) { i.threads.clear(); }), "thread"));
    CHECK(says(refusal([](Image& i) { i.pid = HomePid(0); }), "process number"));
    CHECK(says(refusal([](Image& i) { i.pending.push_back({HomeTid(5), {}}); }), "pending signal"));
    CHECK(says(refusal([](Image& i) { i.threads[0].regs.rip = 0xffff800000000000; }), "registers"));
    CHECK(says(refusal([](Image& i) { i.threads[0].regs.fs_base = 1ull << 47; }), "segment"));
    CHECK(says(refusal([](Image& i) { i.threads[0].xstate.resize(100); }), "extended"));
    CHECK(says(refusal([](Image& i) { i.threads[0].altstack_size = ~0ull; }), "alternate"));
    CHECK(says(refusal([](Image& i) { i.threads[0].rseq = 0x500000; }), "rseq"));
    CHECK(says(refusal([](Image& i) { i.mm.brk = 0x4fffff; }), "end before"));
    CHECK(says(refusal([](Image& i) { i.mm.start_data = 0; }), "user address"));
    CHECK(says(refusal([](Image& i) { i.auxv.resize(8); }), "auxv"));
    CHECK(says(refusal([](Image& i) { i.regions[0].traits = 1 << 20; }), "traits"));
    CHECK(says(refusal([](Image& i) { i.threads[0].sleep_ns = ~0ull; }), "sleep"));
    CHECK(says(refusal([](Image& i) { i.auxv.resize(16); }), "auxv"));
    CHECK(says(refusal([](Image& i) { i.auxv.clear(); }), "auxv"));
    CHECK(says(refusal([](Image& i) { i.name = "sixteen letters!"; }), "name"));
    CHECK(says(refusal([](Image& i) { i.limits.as_hard = 5; }), "limit"));
    CHECK(says(refusal([](Image& i) { i.actions[3].handler = 7; }), "action"));
    CHECK(says(refusal([](Image& i) { i.cpu_timers[0].left_ns = 0; }), "timer"));
    CHECK(says(refusal([](Image& i) { i.cpu_timers[1].number = SIGTERM; }), "timer"));
}
