#include "loader/cpu.h"
#include <cpuid.h>
#include <initializer_list>
#include <span>
#include <vector>

namespace omx {

namespace {

struct Bit { int at; const char* name; };

// How one word of CpuFeatures is compared.
enum class Kind {
    bits,         // every bit is a feature: node's must be within home's
    at_most,      // a version: node's must not be greater
    place,        // offset of an XSAVE component: equal, or 0 on one side (then its bit in XCR0 decides)
};

enum class Register { eax, ebx, ecx, edx };

// Where a word comes from, and which of its bits are features.
struct Word {
    const char* name;
    uint32_t leaf, subleaf;
    Register from;
    Kind kind;
    uint32_t nameless;            // bits not (yet) named that may become features of programs: counted, to be safe
    std::span<const Bit> bits;

    uint32_t mask() const {
        uint32_t mask = nameless;
        for (auto bit : bits) mask |= 1u << bit.at;
        return kind == Kind::bits ? mask : ~0u;
    }
};

consteval uint32_t only(std::initializer_list<int> bits) {
    uint32_t mask = 0;
    for (int at : bits) mask |= 1u << at;
    return mask;
}
consteval uint32_t all_but(std::initializer_list<int> bits) { return ~only(bits); }

constexpr uint32_t kXcr0 = ~0u;   // as a leaf: what xgetbv gives, not cpuid

constexpr Bit k1ecx[] = {{0, "pni"},     {1, "pclmulqdq"}, {9, "ssse3"},   {12, "fma"},   {13, "cx16"},
                         {19, "sse4_1"}, {20, "sse4_2"},   {22, "movbe"},  {23, "popcnt"}, {25, "aes"},
                         {26, "xsave"},  {28, "avx"},      {29, "f16c"},   {30, "rdrand"}};
constexpr Bit k1edx[] = {{0, "fpu"},      {4, "tsc"},  {8, "cx8"},   {11, "sep"}, {15, "cmov"},
                         {19, "clflush"}, {23, "mmx"}, {24, "fxsr"}, {25, "sse"}, {26, "sse2"}};
// HLE is left out: its prefixes mean nothing to a CPU without it. PKU too, as programs look at OSPKE; shadow stacks
// and LAM, because a program has them only by asking its kernel.
constexpr Bit k7ebx[] = {{0, "fsgsbase"},  {3, "bmi1"},      {5, "avx2"},        {8, "bmi2"},      {11, "rtm"},
                         {14, "mpx"},      {16, "avx512f"},  {17, "avx512dq"},   {18, "rdseed"},   {19, "adx"},
                         {21, "avx512ifma"}, {23, "clflushopt"}, {24, "clwb"},   {26, "avx512pf"}, {27, "avx512er"},
                         {28, "avx512cd"}, {29, "sha_ni"},   {30, "avx512bw"},   {31, "avx512vl"}};
constexpr Bit k7ecx[] = {{0, "prefetchwt1"},  {1, "avx512vbmi"}, {4, "ospke"},        {5, "waitpkg"},
                         {6, "avx512_vbmi2"}, {8, "gfni"},         {9, "vaes"},
                         {10, "vpclmulqdq"},  {11, "avx512_vnni"}, {12, "avx512_bitalg"}, {14, "avx512_vpopcntdq"},
                         {22, "rdpid"},       {27, "movdiri"},   {28, "movdir64b"}};
constexpr Bit k7edx[] = {{2, "avx512_4vnniw"}, {3, "avx512_4fmaps"}, {8, "avx512_vp2intersect"}, {14, "serialize"},
                         {16, "tsxldtrk"},     {22, "amx_bf16"},     {23, "avx512_fp16"},        {24, "amx_tile"},
                         {25, "amx_int8"}};
constexpr Bit k71eax[] = {{0, "sha512"},   {1, "sm3"},         {2, "sm4"},       {3, "rao_int"},  {4, "avx_vnni"},
                          {5, "avx512_bf16"}, {7, "cmpccxadd"}, {21, "amx_fp16"}, {23, "avx_ifma"}, {31, "movrs"}};
constexpr Bit k71edx[] = {{4, "avx_vnni_int8"},  {5, "avx_ne_convert"}, {8, "amx_complex"}, {10, "avx_vnni_int16"},
                          {15, "user_msr"},      {19, "avx10"},         {21, "apx_f"}};
constexpr Bit kXcr0Low[] = {{0, "xstate:x87"},     {1, "xstate:sse"},     {2, "xstate:avx"},  {3, "xstate:bndregs"},
                            {4, "xstate:bndcsr"},  {5, "xstate:opmask"},  {6, "xstate:zmm_hi256"},
                            {7, "xstate:hi16_zmm"}, {9, "xstate:pkru"},   {17, "xstate:xtilecfg"},
                            {18, "xstate:xtiledata"}, {19, "xstate:apx"}};
constexpr Bit kd1eax[] = {{0, "xsaveopt"}, {1, "xsavec"}, {2, "xgetbv1"}};
constexpr Bit k80000001ecx[] = {{0, "lahf_lm"},       {5, "abm"},  {6, "sse4a"}, {7, "misalignsse"},
                                {8, "3dnowprefetch"}, {11, "xop"}, {15, "lwp"},  {16, "fma4"},
                                {21, "tbm"},          {29, "mwaitx"}};
constexpr Bit k80000001edx[] = {{11, "syscall"}, {22, "mmxext"},   {25, "fxsr_opt"}, {27, "rdtscp"},
                                {29, "lm"},      {30, "3dnowext"}, {31, "3dnow"}};
constexpr Bit k80000008ebx[] = {{0, "clzero"}, {4, "rdpru"}, {8, "mcommit"}};

// The others of this leaf are in leaf 7 as well.
constexpr Bit k1e1eax[] = {{4, "amx_fp8"}, {5, "amx_transpose"}, {6, "amx_tf32"}, {7, "amx_avx512"}, {8, "amx_movrs"}};

// The order is part of the protocol: append only. `nameless` are the bits that Intel and AMD had not given out when
// this was written; what they have given to kernels (smep, invpcid, spec_ctrl …) or to mere speed is in neither list.
constexpr Word kWords[] = {
    {"leaf1.ecx", 1, 0, Register::ecx, Kind::bits, 0, k1ecx},
    {"leaf1.edx", 1, 0, Register::edx, Kind::bits, 0, k1edx},
    {"leaf7.0.ebx", 7, 0, Register::ebx, Kind::bits, 0, k7ebx},
    {"leaf7.0.ecx", 7, 0, Register::ecx, Kind::bits, only({15, 26}), k7ecx},
    {"leaf7.0.edx", 7, 0, Register::edx, Kind::bits, only({0, 6, 7, 12, 17, 21}), k7edx},
    {"leaf7.1.eax", 7, 1, Register::eax, Kind::bits, only({9, 13, 14, 15, 16, 24, 25, 28, 29}), k71eax},
    {"leaf7.1.ebx", 7, 1, Register::ebx, Kind::bits, all_but({0, 1, 3}), {}},
    {"leaf7.1.ecx", 7, 1, Register::ecx, Kind::bits, all_but({0, 1, 2, 5}), {}},
    {"leaf7.1.edx", 7, 1, Register::edx, Kind::bits, all_but({13, 14, 17, 18, 23, 24}), k71edx},
    {"xcr0", kXcr0, 0, Register::eax, Kind::bits, 0xfff00000, kXcr0Low},
    {"xcr0.high", kXcr0, 0, Register::edx, Kind::bits, all_but({31}), {}},
    {"leaf0xd.1.eax", 0xd, 1, Register::eax, Kind::bits, 0, kd1eax},
    {"leaf0x80000001.ecx", 0x80000001, 0, Register::ecx, Kind::bits, 0, k80000001ecx},
    {"leaf0x80000001.edx", 0x80000001, 0, Register::edx, Kind::bits, 0, k80000001edx},
    {"leaf0x80000008.ebx", 0x80000008, 0, Register::ebx, Kind::bits, 0, k80000008ebx},
    {"avx10 version", 0x24, 0, Register::ebx, Kind::at_most, 0, {}},
    {"xsave place of opmask", 0xd, 5, Register::ebx, Kind::place, 0, {}},
    {"xsave place of zmm_hi256", 0xd, 6, Register::ebx, Kind::place, 0, {}},
    {"xsave place of hi16_zmm", 0xd, 7, Register::ebx, Kind::place, 0, {}},
    {"xsave place of pkru", 0xd, 9, Register::ebx, Kind::place, 0, {}},
    {"xsave place of xtiledata", 0xd, 18, Register::ebx, Kind::place, 0, {}},
    {"xsave place of apx", 0xd, 19, Register::ebx, Kind::place, 0, {}},
    {"leaf0x1e.1.eax", 0x1e, 1, Register::eax, Kind::bits, 0, k1e1eax},
};
static_assert(std::size(kWords) <= std::tuple_size_v<CpuFeatures>);

uint64_t read_xcr0() {
    uint32_t a = 0, b = 0, c = 0, d = 0, low = 0, high = 0;
    constexpr uint32_t osxsave = 1u << 27;      // without it xgetbv faults
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & osxsave)) return 3;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return uint64_t{high} << 32 | low;
}

uint32_t read_word(const Word& word) {
    if (word.leaf == kXcr0) return static_cast<uint32_t>(read_xcr0() >> (word.from == Register::edx ? 32 : 0));
    uint32_t a = 0, b = 0, c = 0, d = 0;
    // Beyond the last leaf a CPU answers as for some other one. Subleaves have no common bound: those past the last
    // one are zeroes in leaf 0xd; leaf 7 says in subleaf 0 how many it has.
    if (word.leaf == 7 && word.subleaf > 0 && (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || a < word.subleaf)) return 0;
    if (!__get_cpuid_count(word.leaf, word.subleaf, &a, &b, &c, &d)) return 0;
    switch (word.from) {
        case Register::eax: return a;
        case Register::ebx: return b;
        case Register::ecx: return c;
        case Register::edx: return d;
    }
    return 0;
}

uint32_t relevant(const Word& word, uint32_t raw) {
    if (word.kind == Kind::at_most) return raw & 0xff;      // above it: vector lengths, all of them since AVX10.2
    return raw & word.mask();
}

std::string bit_name(const Word& word, int at) {
    for (auto bit : word.bits)
        if (bit.at == at) return bit.name;
    return fmt::format("{}.bit{}", word.name, at);
}

void describe(const Word& word, uint32_t node, uint32_t home, std::vector<std::string>& out) {
    bool newer = word.kind == Kind::at_most && node > home;
    bool elsewhere = word.kind == Kind::place && node != home && node != 0 && home != 0;
    if (newer || elsewhere) out.push_back(fmt::format("{} {} (home: {})", word.name, node, home));
    if (word.kind != Kind::bits) return;
    for (int at = 0; at < 32; ++at)
        if ((node & ~home) >> at & 1) out.push_back(bit_name(word, at));
}

}  // namespace

CpuFeatures cpu_features() {
    CpuFeatures features{};
    for (size_t i = 0; i < std::size(kWords); ++i) features[i] = relevant(kWords[i], read_word(kWords[i]));
    return features;
}

Status change_features(CpuFeatures& features, std::string_view words) {
    while (!words.empty()) {
        auto word = words.substr(0, words.find(','));
        words.remove_prefix(std::min(words.size(), word.size() + 1));
        bool found = false;
        for (size_t i = 0; i < std::size(kWords) && word.size() > 1; ++i)
            for (auto bit : kWords[i].bits) {
                if (word.substr(1) != bit.name) continue;
                if (word.front() == '+') features[i] |= 1u << bit.at;
                else features[i] &= ~(1u << bit.at);
                found = true;
            }
        if (!found || (word.front() != '+' && word.front() != '-'))
            return fail(fmt::format("no CPU feature: {}", word));
    }
    return {};
}

std::string features_beyond(const CpuFeatures& node, const CpuFeatures& home) {
    std::vector<std::string> names;
    // Masked here too: the words came over the link, perhaps from another version.
    for (size_t i = 0; i < std::size(kWords); ++i)
        describe(kWords[i], relevant(kWords[i], node[i]), relevant(kWords[i], home[i]), names);
    return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace omx
