// Feeds broken bodies to every frame decoder and broken streams to a link. fuzz_frames SECONDS [SEED]
#include "loader/cache_socket.h"
#include "loader/cpu.h"
#include "protocol/link.h"
#include "tests/fuzz/mutate.h"
#include <chrono>
#include <cstdio>
#include <random>
#include <sys/socket.h>

using namespace omx;

namespace {

using fuzz::Random, fuzz::noise;

[[noreturn]] void broken(const char* what) {
    std::fprintf(stderr, "fuzz_frames: %s\n", what);
    std::abort();
}

std::string some_text(Random& random) {
    auto bytes = noise(random, random() % 50 ? 40 : 5000);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Words at the edges of what decoders compare with.
uint64_t nasty(Random& random) {
    const uint64_t words[] = {0, 1, 64, 0x7f, 255, 256, 4096, 131072, kMaxFrameBytes, 0x7fffffff, 0x80000000,
                              0xffffffff, 1ull << 63, ~0ull, random()};
    return words[random() % std::size(words)] + random() % 3 - 1;
}

void mutate(Bytes& body, Random& random) { fuzz::mutate(body, random, 0, nasty); }

// What a decoder accepts must encode to something that it accepts again, and that stays as it is.
template <class F> bool try_body(const F& sample, Random& random) {
    Bytes body = random() % 8 ? encode_frame(sample) : noise(random, 300);
    mutate(body, random);
    body.shrink_to_fit();      // so that a sanitizer sees the first byte too many
    auto first = F::decode(View(body));
    if (!first) {
        if (first.error().what.empty()) broken("refused without a reason");
        return false;
    }
    auto again = encode_frame(*first);
    auto second = F::decode(View(again));
    if (!second || encode_frame(*second) != again) broken("an accepted frame does not survive its own encoder");
    return true;
}

HomePid pid(Random& random) { return HomePid(static_cast<pid_t>(1 + random() % 4194304)); }
HomeTid tid(Random& random) { return HomeTid(static_cast<pid_t>(1 + random() % 4194304)); }

// It stands behind other things in the answer of an mmap.
bool try_grant(Random& random) {
    auto content = noise(random, 200);
    Bytes body = encode_frame(SharedGrant{random() % 2 == 0, static_cast<uint32_t>(random()), random(), content});
    mutate(body, random);
    body.shrink_to_fit();
    Reader in{View(body)};
    auto grant = SharedGrant::read(in);
    if (!in.finished()) return false;
    if (encode_frame(grant) != body) broken("an accepted grant does not survive its own encoder");
    return true;
}

bool try_decoders(Random& random) {
    switch (random() % 34) {
        case 0: {
            Hello h{.uid = 1000, .host = some_text(random), .command = some_text(random), .boot_id = some_text(random)};
            return try_body(h, random);
        }
        case 1: return try_body(Refuse{some_text(random)}, random);
        case 2: {
            auto image = noise(random, 200);
            return try_body(ImageFrame{pid(random), tid(random), random() % 2 == 0, image}, random);
        }
        case 3: return try_body(ImageDone{pid(random), some_text(random)}, random);
        case 4: {
            SignalFrame f{pid(random), HomeTid(0)};
            f.info.si_signo = static_cast<int>(1 + random() % 64);
            return try_body(f, random);
        }
        case 5: return try_body(KillFrame{pid(random)}, random);
        case 6: return try_body(GoneFrame{pid(random), static_cast<int>(random() % 65536)}, random);
        case 7: return try_body(LostFrame{pid(random), some_text(random), some_text(random)}, random);
        case 8: return try_body(FileGet{random(), random() >> 1, random() >> 2}, random);
        case 9: {
            auto data = noise(random, 200);
            return try_body(FileData{random(), random() >> 1, static_cast<int>(random() % 4096), true, data}, random);
        }
        case 10: return try_body(FileDone{random()}, random);
        case 11: return try_body(FreezeFrame{pid(random), random() % 2 == 0}, random);
        case 12: return try_body(MaskFrame{tid(random), random()}, random);
        case 13: return try_body(LaneAsk{pid(random), random(), {}}, random);
        case 14: return try_body(LaneHello{.lane = random()}, random);
        case 15: return try_body(UndoFrame{pid(random), tid(random)}, random);
        case 16: return try_body(LeaveFrame{pid(random), some_text(random), some_text(random)}, random);
        case 17: {
            auto image = noise(random, 200);
            return try_body(HomecomingFrame{pid(random), static_cast<int64_t>(random() >> 3), image}, random);
        }
        case 18: return try_body(ReadyFrame{pid(random), {static_cast<uint32_t>(random()), 7}}, random);
        case 19: {
            auto data = noise(random, 200);
            return try_body(PagesFrame{pid(random), random() >> 2, random() % 2 == 0, data}, random);
        }
        case 20: {
            auto data = noise(random, 200);
            return try_body(ProcAsk{pid(random), tid(random), static_cast<uint8_t>(random()), random() % 2 == 0,
                                    random() % 2 == 0, random(), static_cast<uint32_t>(random() % 4096), data}, random);
        }
        case 21: {
            auto data = noise(random, 200);
            return try_body(ProcTold{static_cast<int>(random() % 4096), static_cast<uint32_t>(random()), data}, random);
        }
        case 22: return try_body(ClockAsk{static_cast<int64_t>(random())}, random);
        case 23: {
            auto ns = [&] { return static_cast<int64_t>(random() >> 3); };
            return try_body(ClockFrame{ns(), ns(), ns(), -ns(), ns(), -ns()}, random);
        }
        case 24: return try_body(ComeFrame{pid(random), some_text(random)}, random);
        case 25: return try_body(AskFrame{.wish = static_cast<Wish>(1 + random() % 3), .pid = pid(random)}, random);
        case 26: return try_body(PlacedFrame{pid(random), some_text(random), some_text(random), "", random()}, random);
        case 27: return try_body(MovedFrame{MovedFrame::Step::done, random(), random(), some_text(random)}, random);
        case 28: {
            Scheduling s{.policy = 3, .nice = -5, .cpus = CpuSet::below(random() % 8193)};
            return try_body(SchedulingFrame{tid(random), s}, random);
        }
        case 29: {
            auto data = noise(random, 200);
            SharedFrame f{random(), random(), random() % (kMaxSharedBytes + 1), {}};
            for (uint32_t at = 0; !data.empty() && at + data.size() < kMaxSharedBytes; at += 1 + random() % 65536)
                if (f.changes.push_back({at, data}), f.changes.size() == 5) break;
                else at += static_cast<uint32_t>(data.size());
            return try_body(f, random);
        }
        case 30: return try_body(SharedDone{random(), static_cast<uint32_t>(random())}, random);
        case 31: return try_body(SharedOver{random(), some_text(random)}, random);
        case 32: return try_grant(random);
        default: break;
    }
    // Decoders without an encode(Writer&) of this shape.
    CacheRequest request{random() % 2 ? CacheOperation::find : CacheOperation::store, FileKey{.bytes = random() >> 1}};
    auto body = random() % 2 ? request.encode() : CacheAnswer{CacheOutcome::refused, some_text(random)}.encode();
    mutate(body, random);
    body.shrink_to_fit();
    bool accepted = CacheRequest::decode(View(body)).has_value();
    accepted |= CacheAnswer::decode(View(body)).has_value();
    CpuFeatures node{}, home{};
    for (auto& word : node) word = static_cast<uint32_t>(nasty(random));
    if (!features_beyond(home, home).empty()) broken("a CPU has more than itself");
    features_beyond(node, home);
    if (auto address = Address::parse(some_text(random)); address && !Address::parse(address->text()))
        broken("an accepted address is refused in its own form");
    return accepted;
}

// One stream of frames, broken or not, in random portions through a link.
struct Stream {
    Bytes bytes;
    size_t frames = 0;
    bool whole = true;
};

Stream make_stream(Random& random) {
    Stream s;
    Writer w(s.bytes);
    constexpr FrameType types[] = {FrameType::call, FrameType::reply, FrameType::file_data, FrameType::lane_reply};
    for (size_t n = random() % 30; n > 0; --n) {
        auto body = noise(random, random() % 20 ? 200 : 600'000);
        w.put(FrameHeader{static_cast<uint32_t>(body.size()), static_cast<uint16_t>(types[random() % 4]), 0, random()});
        w.raw(body.data(), body.size());
        ++s.frames;
    }
    auto before = s.bytes;
    if (random() % 2) mutate(s.bytes, random);
    s.whole = s.bytes == before;
    return s;
}

void try_link(Loop& loop, Random& random) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) broken("socketpair failed");
    UniqueFd peer(ends[1]);
    Link link(plain_channel(UniqueFd(ends[0])), loop);
    auto stream = make_stream(random);
    size_t sent = 0, frames = 0, body_bytes = 0;
    for (;;) {
        size_t portion = std::min<size_t>(1 + random() % (random() % 4 ? 300'000 : 30), stream.bytes.size() - sent);
        auto now = portion ? send(peer.get(), stream.bytes.data() + sent, portion, MSG_NOSIGNAL) : 0;
        if (now > 0) sent += static_cast<size_t>(now);
        if (sent == stream.bytes.size()) peer.reset();
        bool promised = link.has_buffered_frame();
        auto f = link.receive();
        if (!f) {
            if (f.error().code != ECONNRESET && f.error().code != EPROTO) broken("a link ends with a strange error");
            if (link.receive() || link.has_buffered_frame()) broken("a link recovers from its end");
            break;
        }
        if (promised && !*f) broken("a buffered frame was not given");
        if (!*f) continue;
        ++frames;
        for (auto b : (*f)->body) body_bytes += static_cast<size_t>(b) & 1;      // a sanitizer sees every byte
        link.send(FrameType::pong, (*f)->id, (*f)->body);                          // the peer may never read it
    }
    if (stream.whole && frames != stream.frames) broken("a link lost frames");
    if (link.counters().frames_in != frames) broken("a link miscounts");
    if (body_bytes > stream.bytes.size()) broken("a link invents bytes");
}

}  // namespace

int main(int argc, char** argv) {
    double seconds = argc > 1 ? std::atof(argv[1]) : 5;
    uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 0) : std::random_device{}();
    std::printf("fuzz_frames: seed %llu\n", static_cast<unsigned long long>(seed));
    std::fflush(stdout);
    Random random(seed);
    auto loop = Loop::make(random() % 2 ? LoopKind::automatic : LoopKind::epoll);
    if (!loop) broken("no loop");
    auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    unsigned long bodies = 0, accepted = 0, streams = 0;
    while (std::chrono::steady_clock::now() < end) {
        for (int i = 0; i < 500; ++i, ++bodies) accepted += try_decoders(random);
        try_link(**loop, random);
        ++streams;
    }
    std::printf("fuzz_frames: %lu bodies (%lu accepted), %lu streams\n", bodies, accepted, streams);
    return 0;
}
