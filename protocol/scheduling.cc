#include "protocol/scheduling.h"
#include <algorithm>

namespace omx {

namespace {
constexpr int kLowestNice = 19, kHighestNice = -20;
constexpr uint32_t kMostPriority = 99;
constexpr size_t kBits = 64;
}  // namespace

CpuSet CpuSet::of(std::vector<uint64_t> words) {
    CpuSet set;
    set.words_ = std::move(words);
    while (!set.words_.empty() && set.words_.back() == 0) set.words_.pop_back();
    return set;
}

CpuSet CpuSet::below(size_t count) {
    std::vector<uint64_t> words(count / kBits, ~uint64_t{0});
    words.push_back((uint64_t{1} << count % kBits) - 1);
    return of(std::move(words));
}

void CpuSet::add(size_t cpu) {
    if (words_.size() <= cpu / kBits) words_.resize(cpu / kBits + 1);
    words_[cpu / kBits] |= uint64_t{1} << cpu % kBits;
}

bool CpuSet::contains(size_t cpu) const {
    return cpu / kBits < words_.size() && words_[cpu / kBits] >> cpu % kBits & 1;
}

bool CpuSet::contains_all(const CpuSet& others) const { return (others - *this).empty(); }

CpuSet CpuSet::operator&(const CpuSet& other) const {
    std::vector<uint64_t> words(std::min(words_.size(), other.words_.size()));
    for (size_t i = 0; i < words.size(); i++) words[i] = words_[i] & other.words_[i];
    return of(std::move(words));
}

CpuSet CpuSet::operator-(const CpuSet& other) const {
    auto words = words_;
    for (size_t i = 0; i < std::min(words.size(), other.words_.size()); i++) words[i] &= ~other.words_[i];
    return of(std::move(words));
}

void Scheduling::encode(Writer& w) const {
    w.put(policy);
    w.put(nice);
    w.put(priority);
    w.put(static_cast<uint8_t>(reset_on_fork));
    w.bytes(std::as_bytes(std::span(cpus.words())));
}

Scheduling Scheduling::read(Reader& r) {
    Scheduling s;
    s.policy = r.get<uint32_t>();
    s.nice = r.get<int32_t>();
    s.priority = r.get<uint32_t>();
    auto reset = r.get<uint8_t>();
    s.reset_on_fork = reset == 1;
    View set = r.bytes();
    if (reset > 1 || set.size() % sizeof(uint64_t) || set.size() > CpuSet::kMostCpus / 8) {
        r.refuse();
        return {};
    }
    std::vector<uint64_t> words(set.size() / sizeof(uint64_t));
    if (!set.empty()) std::memcpy(words.data(), set.data(), set.size());
    s.cpus = CpuSet::of(std::move(words));
    return s;
}

bool Scheduling::sound() const { return nice >= kHighestNice && nice <= kLowestNice && priority <= kMostPriority; }

}  // namespace omx
