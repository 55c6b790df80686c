// A guest's call on its whole way, in one process: encoded from this process's memory, laid out in an arena, really
// made, and its answer written back. What comes out must be what the same call gives without the way.
#pragma once
#include "protocol/marshal.h"
#include <cstdio>
#include <doctest/doctest.h>
#include <list>
#include <string>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace omx::test {

inline std::byte* map_pages(size_t bytes, int protection = PROT_READ | PROT_WRITE) {
    return static_cast<std::byte*>(mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

// Memory that ends at a page that can't be touched, with a canary before it.
class Guarded {
public:
    explicit Guarded(size_t bytes, int protection = PROT_READ | PROT_WRITE) : bytes_(bytes) {
        whole_ = (bytes + 64 + 4095) / 4096 * 4096;
        map_ = map_pages(whole_ + 4096);
        mprotect(map_ + whole_, 4096, PROT_NONE);
        std::memset(map_, 0xc5, whole_);
        if (protection != (PROT_READ | PROT_WRITE)) mprotect(map_, whole_, protection);
    }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;
    ~Guarded() { munmap(map_, whole_ + 4096); }
    std::byte* data() const { return map_ + whole_ - bytes_; }
    uint64_t address() const { return reinterpret_cast<uint64_t>(data()); }
    std::byte* end() const { return map_ + whole_; }
    size_t size() const { return bytes_; }
    template <class T> T& as(size_t offset = 0) const { return *reinterpret_cast<T*>(data() + offset); }
    std::string text() const { return {reinterpret_cast<const char*>(data()), bytes_}; }
    void set(std::string_view s) const { std::memcpy(data(), s.data(), s.size()); }
    void make_read_only() const { mprotect(map_, whole_, PROT_READ); }
    bool canary_lives() const { return std::all_of(map_, data(), [](std::byte b) { return b == std::byte{0xc5}; }); }
private:
    size_t bytes_, whole_;
    std::byte* map_;
};

// This process as its own guest. The kernel reads and writes for us, so that bad memory is an answer and no fault.
class OwnMemory : public GuestMemory {
public:
    size_t read(GuestAddr from, std::span<std::byte> out) override {
        ++reads;
        return transfer(SYS_process_vm_readv, out.data(), from.value, out.size());
    }
    size_t write(GuestAddr to, View in) override {
        ++writes;
        return transfer(SYS_process_vm_writev, const_cast<std::byte*>(in.data()), to.value, in.size());
    }
    size_t writable(GuestAddr at, size_t bytes) override {
        uint64_t reached = at.value, end = at.value + bytes;
        FILE* maps = std::fopen("/proc/self/maps", "re");
        unsigned long from, to;
        char mode[8], line[8192];
        while (std::fgets(line, sizeof line, maps) && reached < end) {
            if (std::sscanf(line, "%lx-%lx %7s", &from, &to, mode) == 3 && from <= reached && reached < to) {
                if (mode[1] != 'w') break;
                reached = to;
            }
        }
        std::fclose(maps);
        return std::min(reached, end) - at.value;
    }
    int reads = 0, writes = 0;
private:
    // The kernel transfers whole pages at its own choice: byte by byte at the edge of what it refuses.
    static size_t transfer(long call, std::byte* mine, uint64_t theirs, size_t bytes) {
        size_t done = 0;
        while (done < bytes) {
            size_t step = std::min<size_t>(bytes - done, 4096 - ((theirs + done) & 4095));
            iovec here{mine + done, step}, there{reinterpret_cast<void*>(theirs + done), step};
            if (::syscall(call, getpid(), &here, 1, &there, 1, 0) != static_cast<long>(step)) break;
            done += step;
        }
        return done;
    }
};

class TestArena : public Arena {
public:
    TestArena() : trap_(map_pages(4096, PROT_NONE)) {}
    ~TestArena() override {
        for (auto [at, bytes] : maps_) munmap(at, bytes);
        munmap(trap_, 4096);
    }
    Piece allocate(size_t bytes, size_t alignment) override {
        std::byte* at = map(bytes + alignment, 0);
        auto misfit = reinterpret_cast<uint64_t>(at) % alignment;
        return piece(at + (misfit ? alignment - misfit : 0));
    }
    Piece allocate_before_guard(size_t bytes) override {
        size_t whole = (bytes + 4095) / 4096 * 4096;
        return piece(map(whole, 4096) + whole - bytes);
    }
    DeputyAddr bad_address() const override { return DeputyAddr(reinterpret_cast<uint64_t>(trap_)); }
private:
    static Piece piece(std::byte* at) { return {at, DeputyAddr(reinterpret_cast<uint64_t>(at))}; }
    std::byte* map(size_t bytes, size_t guard) {
        bytes = (bytes + 4095) / 4096 * 4096 + guard;
        std::byte* at = map_pages(bytes);
        if (guard) mprotect(at + bytes - guard, guard, PROT_NONE);
        std::memset(at, 0xee, bytes - guard);       // what is sent back without having been written is seen
        maps_.emplace_back(at, bytes);
        return at;
    }
    std::byte* trap_;
    std::list<std::pair<std::byte*, size_t>> maps_;
};

inline uint64_t word(const void* p) { return reinterpret_cast<uint64_t>(p); }
template <class T> requires (std::is_integral_v<T> || std::is_enum_v<T>) uint64_t word(T v) {
    return static_cast<uint64_t>(static_cast<int64_t>(v));
}

// The raw call: a value or -errno.
template <class... A> int64_t native(long nr, A... args) {
    long result = ::syscall(nr, word(args)...);
    return result == -1 ? -errno : result;
}

struct Travelled { int64_t result; size_t call_bytes, reply_bytes; CallArgs deputy; };

inline Travelled travel(long nr, const CallArgs& args) {
    OwnMemory memory;
    TestArena arena;
    Bytes body, answer;
    Writer out(body), back(answer);
    auto number = static_cast<uint32_t>(nr);
    auto encoded = encode_call(HomeTid(7), number, args, memory, out);
    REQUIRE_MESSAGE(encoded.has_value(), encoded.error().what);
    auto call = decode_call(body, arena);
    REQUIRE_MESSAGE(call.has_value(), call.error().what);
    CHECK(call->tid == HomeTid(7));
    const CallArgs& d = call->deputy;
    int64_t result = native(nr, d[0], d[1], d[2], d[3], d[4], d[5]);
    encode_reply(*call, {result, 0}, back);
    auto reply = apply_reply(answer, number, args, memory);
    REQUIRE_MESSAGE(reply.has_value(), reply.error().what);
    CHECK(reply->attachment.empty());
    return {reply->head.result, body.size(), answer.size(), d};
}

template <class... A> int64_t forwarded(long nr, A... args) {
    CallArgs all{};
    size_t i = 0;
    ((all[i++] = word(args)), ...);
    return travel(nr, all).result;
}

}  // namespace omx::test
