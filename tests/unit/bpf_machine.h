// Evaluates a classic BPF program over a struct seccomp_data, as the kernel would: filters are tested as data.
// Only what libseccomp makes of our rules: load word, and, jumps, return.
#pragma once
#include <cstring>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <optional>
#include <vector>

namespace omx::test {

inline std::optional<uint32_t> evaluate(const std::vector<sock_filter>& program, const seccomp_data& data) {
    uint32_t a = 0;
    for (size_t at = 0; at < program.size(); at++) {
        const auto& i = program[at];
        auto jump = [&](bool condition) { at += condition ? i.jt : i.jf; };
        switch (i.code) {
            case BPF_LD | BPF_W | BPF_ABS:
                if (i.k % 4 != 0 || i.k + 4 > sizeof data) return std::nullopt;
                std::memcpy(&a, reinterpret_cast<const char*>(&data) + i.k, 4);
                break;
            case BPF_ALU | BPF_AND | BPF_K: a &= i.k; break;
            case BPF_JMP | BPF_JA: at += i.k; break;
            case BPF_JMP | BPF_JEQ | BPF_K: jump(a == i.k); break;
            case BPF_JMP | BPF_JGT | BPF_K: jump(a > i.k); break;
            case BPF_JMP | BPF_JGE | BPF_K: jump(a >= i.k); break;
            case BPF_JMP | BPF_JSET | BPF_K: jump(a & i.k); break;
            case BPF_RET | BPF_K: return i.k;
            default: return std::nullopt;
        }
    }
    return std::nullopt;
}

}  // namespace omx::test
