// How a kernel schedules a thread: its class, its nice value, the CPUs that it may use. Home's kernel keeps it of every
// deputy; the node is told, for the guest (docs/internals.md).
#pragma once
#include "protocol/bytes.h"

namespace omx {

// Numbers of CPUs.
class CpuSet {
public:
    static constexpr size_t kMostCpus = 8192;              // no kernel is built for more
    static CpuSet below(size_t count);
    void add(size_t cpu);
    bool contains(size_t cpu) const;
    bool contains_all(const CpuSet&) const;
    bool empty() const { return words_.empty(); }
    // As the kernel has it: bit n % 64 of word n / 64; without words of zero at the end.
    const std::vector<uint64_t>& words() const { return words_; }
    static CpuSet of(std::vector<uint64_t> words);

    CpuSet operator&(const CpuSet&) const;
    CpuSet operator-(const CpuSet&) const;
    bool operator==(const CpuSet&) const = default;

private:
    std::vector<uint64_t> words_;
};

struct Scheduling {
    uint32_t policy = 0;                                   // SCHED_OTHER …
    int32_t nice = 0;
    uint32_t priority = 0;                                 // of a realtime class
    bool reset_on_fork = false;
    CpuSet cpus;                                           // empty: not told

    bool operator==(const Scheduling&) const = default;
    void encode(Writer&) const;
    static Scheduling read(Reader&);
    bool sound() const;                                    // it is what a kernel may say
};
constexpr size_t kLeastSchedulingBytes = 17;               // encoded

}  // namespace omx
