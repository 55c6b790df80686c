#include "loader/cpu.h"
#include <doctest/doctest.h>
#include <sched.h>

using namespace omx;

namespace {

// The words of loader/cpu.cc, whose order is part of the protocol.
constexpr size_t k1ecx = 0, k7ebx = 2, k71eax = 5, kXcr0 = 9, kAvx10 = 15, kPlaceOfOpmask = 16;

class EveryCpu {
public:
    EveryCpu() { sched_getaffinity(0, sizeof before_, &before_); }
    ~EveryCpu() { sched_setaffinity(0, sizeof before_, &before_); }
    bool allowed(int cpu) const { return CPU_ISSET(cpu, &before_); }
    bool go(int cpu) const {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        return sched_setaffinity(0, sizeof one, &one) == 0;
    }
private:
    cpu_set_t before_{};
};

}  // namespace

TEST_CASE("all CPUs of a machine are alike") {
    auto here = cpu_features();
    EveryCpu cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (cpus.allowed(cpu) && cpus.go(cpu)) CHECK(cpu_features() == here);
}

TEST_CASE("what every x86-64 CPU has is found") {
    auto names = ", " + features_beyond(cpu_features(), CpuFeatures{}) + ",";
    for (auto name : {"sse2", "cx8", "fxsr", "syscall", "lm"})
        CHECK(names.find(fmt::format(", {},", name)) != std::string::npos);
    CHECK(names.find(".bit") == std::string::npos);      // nothing that we have no name for
}

TEST_CASE("a node may have less than home, never more") {
    auto home = cpu_features(), node = home;
    CHECK(features_beyond(node, home).empty());
    node[k1ecx] = 0;
    CHECK(features_beyond(node, home).empty());
    home[k7ebx] &= ~(1u << 5 | 1u << 16);
    node[k7ebx] = home[k7ebx] | 1u << 5 | 1u << 16;
    CHECK(features_beyond(node, home) == "avx2, avx512f");
}

TEST_CASE("unknown features of programs are named by their place, those of kernels are ignored") {
    CpuFeatures home{}, node{};
    node[k71eax] = 1u << 9;
    CHECK(features_beyond(node, home) == "leaf7.1.eax.bit9");
    node[k71eax] = 1u << 17;      // FRED
    CHECK(features_beyond(node, home).empty());
    node[k1ecx] = 1u << 31 | 1u << 27 | 1u << 5;      // hypervisor, OSXSAVE, VMX
    CHECK(features_beyond(node, home).empty());
}

TEST_CASE("what the kernel has not switched on counts as missing") {
    auto home = cpu_features(), node = home;
    node[kXcr0] |= 1u << 5;
    home[kXcr0] &= ~(1u << 5);
    CHECK(features_beyond(node, home) == "xstate:opmask");
}

TEST_CASE("another CPU's description can be made up for a test") {
    auto home = cpu_features(), node = home;
    CHECK(change_features(node, "+avx512_vp2intersect,+amx_fp8,-sse4_2"));
    CHECK(features_beyond(node, home) == "avx512_vp2intersect, amx_fp8");
    CHECK(features_beyond(home, node) == "sse4_2");
    CHECK(!change_features(node, "+sse4_3"));
    CHECK(!change_features(node, "avx2"));
    CHECK(!change_features(node, "+"));
}

TEST_CASE("versions are compared as numbers and places of state as places") {
    CpuFeatures home{}, node{};
    home[kAvx10] = 2;
    node[kAvx10] = 1;
    CHECK(features_beyond(node, home).empty());
    CHECK(features_beyond(home, node) == "avx10 version 2 (home: 1)");
    home = node = CpuFeatures{};
    node[kPlaceOfOpmask] = 832;
    CHECK(features_beyond(node, home).empty());
    home[kPlaceOfOpmask] = 1088;
    CHECK(features_beyond(node, home) == "xsave place of opmask 832 (home: 1088)");
}
