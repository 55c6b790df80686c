// Feeds broken call frames to home's decoder and broken replies to the node's. fuzz_call SECONDS [SEED]
// What the decoder accepts must hold only pointers that the arena gave, and be fit for a reply and for the trace.
#include "protocol/marshal.h"
#include "protocol/trace.h"
#include "tests/fuzz/mutate.h"
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>

using namespace omx;

namespace {

using fuzz::Random;

// A guest of which only one stretch of memory exists; it holds pointers into itself and small numbers.
class FakeMemory : public GuestMemory {
public:
    static constexpr uint64_t kStart = 0x5000000, kBytes = 65536;
    explicit FakeMemory(Random& random) : bytes_(kBytes) {
        for (size_t at = 0; at < kBytes; at += 8) {
            uint64_t word = 0;
            switch (random() % 4) {
            case 0: word = kStart + random() % kBytes; break;
            case 1: word = random() % 40; break;
            case 2: word = random(); break;
            }
            std::memcpy(bytes_.data() + at, &word, sizeof word);
        }
    }
    size_t read(GuestAddr from, std::span<std::byte> out) override {
        size_t n = within(from, out.size());
        if (n) std::memcpy(out.data(), bytes_.data() + (from.value - kStart), n);
        return n;
    }
    size_t write(GuestAddr to, View in) override {
        size_t n = within(to, in.size());
        if (n) std::memcpy(bytes_.data() + (to.value - kStart), in.data(), n);
        return n;
    }
    size_t writable(GuestAddr at, size_t bytes) override { return within(at, bytes); }
private:
    static size_t within(GuestAddr at, size_t bytes) {
        if (at.value < kStart || at.value >= kStart + kBytes) return 0;
        return std::min<size_t>(bytes, kStart + kBytes - at.value);
    }
    Bytes bytes_;
};

// Every piece is an allocation of its own, so that the address sanitizer sees a byte too many. The deputy's addresses
// are not ours: a pointer that was taken from the frame would be outside.
class FakeArena : public Arena {
public:
    static constexpr uint64_t kStart = 0x700000000000, kEnd = 0x710000000000, kBad = 0x6fffffff0000;
    Piece allocate(size_t bytes, size_t) override {
        if (bytes > left_) return {};
        left_ -= bytes;
        pieces_.push_back(std::make_unique<std::byte[]>(bytes));
        next_ += bytes + 4096;
        return {pieces_.back().get(), DeputyAddr(next_ - bytes - 4096)};
    }
    Piece allocate_before_guard(size_t bytes) override { return allocate(bytes, 1); }
    DeputyAddr bad_address() const override { return DeputyAddr(kBad); }
private:
    std::vector<std::unique_ptr<std::byte[]>> pieces_;
    uint64_t next_ = kStart, left_ = 256u << 20;
};

// Words that sit at the edges of what decoders compare with.
uint64_t nasty(Random& random) {
    const uint64_t words[] = {0, 1, 8, 16, 1024, 4096, 0x7fffffff, 0x80000000, 0xffffffff, 0x7ffffffff000, 1ull << 63,
                              ~0ull, FakeMemory::kStart, FakeMemory::kStart + FakeMemory::kBytes, random()};
    return words[random() % std::size(words)] + random() % 3 - 1;
}

void mutate(Bytes& body, Random& random) { fuzz::mutate(body, random, 1, nasty); }

CallArgs some_args(Random& random) {
    CallArgs args{};
    for (uint64_t& a : args) {
        switch (random() % 4) {
        case 0: a = nasty(random); break;
        case 1: a = random() % 300; break;
        default: a = FakeMemory::kStart + random() % FakeMemory::kBytes; break;
        }
    }
    return args;
}

// A command that the call's subtable has, most of the time.
void choose_command(const Row& row, CallArgs& args, Random& random) {
    if (!row.subtable || row.subtable->variants.empty() || random() % 8 == 0) return;
    auto variants = row.subtable->variants;
    uint64_t selector = variants[random() % variants.size()].selector;
    size_t i = 0;
    while (i < row.args.size() && row.args[i].show != Show::command) ++i;
    if (i < row.args.size()) args[i] = selector;
    else { args[1] = selector >> 32; args[2] = selector & 0xffffffff; }       // socket options
}

bool pointers_are_home_built(const HomeCall& call) {
    const Args& described = form_of(*find_row(call.nr), call.guest).args();
    for (size_t i = 0; i < call.deputy.size(); ++i) {
        uint64_t p = call.deputy[i];
        if (described[i].shape == Shape::value || p == 0) continue;
        bool fine = p == FakeArena::kBad || p >= 0x800000000000 || (p >= FakeArena::kStart && p < FakeArena::kEnd);
        if (fine) continue;
        std::printf("call %u: argument %zu is %#llx\n", call.nr, i, static_cast<unsigned long long>(p));
        return false;
    }
    return true;
}

const char* try_reply(const HomeCall& call, FakeMemory& memory, Random& random) {
    Bytes answer;
    Writer out(answer);
    int64_t result = random() % 2 ? static_cast<int64_t>(nasty(random)) : static_cast<int64_t>(random() % 70000);
    encode_reply(call, {result, 0}, out);
    if (answer.size() > kMaxFrameBytes) return "a reply is longer than a frame";
    if (!apply_reply(answer, call.nr, call.guest, memory)) return "a good reply was refused";
    mutate(answer, random);
    (void)apply_reply(answer, call.nr, call.guest, memory);
    return nullptr;
}

const char* try_one(Random& random, FakeMemory& memory) {
    auto all = rows();
    const Row& row = all[random() % all.size()];
    CallArgs args = some_args(random);
    choose_command(row, args, random);
    Bytes body;
    Writer out(body);
    if (!encode_call(HomeTid(1), row.number, args, memory, out)) return "a call could not be encoded";
    if (body.size() > kMaxFrameBytes) return "a call is longer than a frame";
    bool broken = random() % 4 != 0;
    if (broken) mutate(body, random);
    FakeArena arena;
    auto call = decode_call(body, arena);
    if (auto head = peek_call(body)) (void)format_call(*head, body);
    if (!call) {
        if (broken) return nullptr;
        std::printf("%s\n", call.error().what.c_str());
        return "a good call was refused";
    }
    if (!pointers_are_home_built(*call)) return "a pointer of the frame's got through";
    return try_reply(*call, memory, random);
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
        FakeMemory memory(random);
        for (int i = 0; i < 100; ++i)
            if (const char* wrong = try_one(random, memory)) return std::puts(wrong), 1;
    }
    std::printf("%zu calls\n", runs * 100);
    return 0;
}
