// Feeds broken images to the decoder, and what it accepts to the plan maker. fuzz_image SECONDS [SEED]
#include "loader/image.h"
#include "loader/restore.h"
#include "tests/fuzz/mutate.h"
#include <chrono>
#include <cstdio>
#include <elf.h>
#include <random>
#include <sys/mman.h>

using namespace omx;

namespace {

using fuzz::Random;

Image sample(Random& random) {
    Image i;
    i.pid = HomePid(100);
    auto& t = i.threads.emplace_back();
    t.tid = HomeTid(100);
    t.regs.rip = 0x400000;
    t.regs.rsp = 0x7ffc00010ff0;
    if (random() % 2) t.xstate.resize(2688);
    i.mm = {0x400000, 0x401000, 0x401000, 0x402000, 0x500000, 0x500000, 0x7ffc00010ff0, 0x7ffc00010ff8, 0x7ffc00010ff9,
            0x7ffc00010ff9, 0x7ffc00010ff9};
    const Elf64_auxv_t end = {AT_NULL, {0}};
    i.auxv.resize(sizeof end);
    std::memcpy(i.auxv.data(), &end, sizeof end);
    i.actions[random() % 64].handler = random() % 2;
    i.name = "fuzz";
    i.files.push_back({.handle = 1, .bytes = 8192});
    i.storage.resize(8192);
    uint64_t at = 0x10000 + (random() % 1000) * 4096;
    for (size_t n = random() % 8; n > 0; n--) {
        uint64_t bytes = (1 + random() % 16) * 4096;
        bool of_file = random() % 2;
        i.regions.push_back({at, at + bytes, static_cast<uint32_t>(random() % 8),
                             of_file ? RegionKind::file : RegionKind::anonymous, of_file ? 0 : -1, 0});
        if (random() % 2) i.contents.push_back({at + random() % 2048, View(i.storage).first(1 + random() % 2048)});
        at += bytes + (random() % 3) * 4096;
    }
    i.regions.push_back({0x7f0000000000, 0x7f0000002000, PROT_READ | PROT_EXEC, RegionKind::vdso, -1, 0});
    i.regions.push_back({0x7ffc00000000, 0x7ffc00011000, PROT_READ | PROT_WRITE, RegionKind::stack, -1, 0});
    return i;
}

// Words that sit at the edges of what decoders compare with.
uint64_t nasty(Random& random) {
    const uint64_t words[] = {0, 1, 0xfff, 0x1000, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0x7ffffffff000,
                              0x800000000000, 1ull << 63, ~0ull, ~0xfffull, random()};
    return words[random() % std::size(words)] + random() % 3 - 1;
}

void mutate(Bytes& body, Random& random) { fuzz::mutate(body, random, 1, nasty); }

// Everything that the decoder let through must encode to the same bytes and be fit for planning.
bool try_one(const Bytes& body) {
    auto image = Image::decode(View(body));
    if (!image) return true;
    Bytes encoded = encode_frame(*image);        // outlives what is decoded from it
    auto again = Image::decode(View(encoded));
    if (!again || encode_frame(*again) != encoded) return false;
    std::vector<int> files(image->files.size(), 0);
    (void)plan_restore(*image, files);
    return true;
}

}  // namespace

int main(int argc, char** argv) {
    double seconds = argc > 1 ? std::atof(argv[1]) : 5;
    uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 0) : std::random_device()();
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    std::fflush(stdout);
    Random random(seed);
    auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    size_t runs = 0;
    for (; std::chrono::steady_clock::now() < end; runs++) {
        Bytes body = encode_frame(sample(random));
        if (!Image::decode(View(body))) return std::puts("a good image was refused"), 1;
        if (random() % 8) mutate(body, random);
        if (!try_one(body)) return std::puts("an image changed by encoding it again"), 1;
    }
    std::printf("%zu images\n", runs);
    return 0;
}
