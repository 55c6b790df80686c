#include "supervisor/exec_again.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "loader/proc_files.h"
#include "supervisor/ptrace.h"

namespace omx {

namespace {

// How a program of one kind lays out its stack and makes a system call.
struct Abi {
    size_t word;
    char instruction[3];
    uint32_t execve, prctl;
};
constexpr Abi k64Bit{8, "\x0f\x05", SYS_execve, SYS_prctl}, k32Bit{4, "\xcd\x80", 11, 172};
constexpr uint64_t k64BitCode = 0x33;  // the kernel's user code segment in long mode

const Abi& abi_of(const user_regs_struct& r) { return r.cs == k64BitCode ? k64Bit : k32Bit; }

void set_arguments(user_regs_struct& r, uint64_t a, uint64_t b, uint64_t c) {
    if (r.cs == k64BitCode)
        r.rdi = a, r.rsi = b, r.rdx = c;
    else
        r.rbx = a, r.rcx = b, r.rdx = c;
}

// What execve left in a process's memory.
class FreshMemory {
public:
    FreshMemory(HomePid pid, const Abi& abi, UniqueFd memory, std::string auxv)
        : pid_(pid), abi_(abi), memory_(std::move(memory)), auxv_(std::move(auxv)) {}

    uint64_t word(uint64_t at) const {
        uint64_t value = 0;
        (void)!pread(memory_.get(), &value, abi_.word, static_cast<off_t>(at));
        return value;
    }
    uint64_t auxiliary(uint64_t type) const {
        for (size_t at = 0; at + 2 * abi_.word <= auxv_.size(); at += 2 * abi_.word) {
            uint64_t pair[2] = {0, 0};
            std::memcpy(&pair[0], auxv_.data() + at, abi_.word);
            std::memcpy(&pair[1], auxv_.data() + at + abi_.word, abi_.word);
            if (pair[0] == type) return pair[1];
        }
        return 0;
    }
    std::string text(uint64_t at) const {
        char bytes[4096];
        auto n = pread(memory_.get(), bytes, sizeof bytes, static_cast<off_t>(at));
        // A piece at the very top of the stack is shorter than asked for.
        return n > 0 ? std::string(bytes, strnlen(bytes, static_cast<size_t>(n))) : "";
    }
    bool write(uint64_t at, std::string_view bytes) const {
        auto n = pwrite(memory_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
        return n == static_cast<ssize_t>(bytes.size());
    }
    std::optional<uint64_t> call_instruction() const {
        auto vdso = auxiliary(AT_SYSINFO_EHDR);
        char code[0x2000];
        ssize_t n = vdso ? pread(memory_.get(), code, sizeof code, static_cast<off_t>(vdso)) : 0;
        auto found = std::string_view(code, static_cast<size_t>(std::max<ssize_t>(n, 0))).find({abi_.instruction, 2});
        return found == std::string_view::npos ? std::nullopt : std::optional(vdso + found);
    }
    // Whether a path means the running program, to that process.
    bool names_the_program(const std::string& path) const {
        struct stat named, running;
        return stat(seen_from_here(path).c_str(), &named) == 0 && stat(of_process("exe").c_str(), &running) == 0 &&
               named.st_dev == running.st_dev && named.st_ino == running.st_ino;
    }

private:
    std::string of_process(std::string_view file) const { return fmt::format("/proc/{}/{}", pid_.value, file); }
    std::string seen_from_here(std::string_view path) const {
        for (std::string_view own : {"/dev/fd/", "/proc/self/fd/"})
            if (path.starts_with(own)) return of_process("fd/").append(path.substr(own.size()));
        return of_process(path.starts_with('/') ? "root" : "cwd/").append(path);
    }

    HomePid pid_;
    const Abi& abi_;
    UniqueFd memory_;
    std::string auxv_;
};

struct ExecArguments {
    uint64_t path, argv, envp;
};

// What execve has to be given for the same result. The path that it was given shows later (AT_EXECFN, the process's
// name), so it should be the same.
Result<ExecArguments> arguments_again(const FreshMemory& m, size_t word, uint64_t stack) {
    auto argv = stack + word, envp = argv + word * (m.word(stack) + 1);
    auto given = m.auxiliary(AT_EXECFN);
    auto path = m.text(given);
    if (m.names_the_program(path)) return ExecArguments{given, argv, envp};
    // A script: INTERPRETER [WORD] SCRIPT ARGUMENT...; of what execve is given it takes the ARGUMENTs only. Its
    // interpreter may be a script, which puts more words in front.
    constexpr uint64_t most_words = 16;
    for (uint64_t at = argv + word; at < std::min(envp - word, argv + most_words * word); at += word)
        if (m.text(m.word(at)) == path) return ExecArguments{given, at, envp};
    constexpr std::string_view any("/proc/self/exe\0", 15);  // a descriptor that this exec has closed
    auto below = stack - 256;
    if (!m.write(below, any)) return fail("can't write below its stack");
    return ExecArguments{below, argv, envp};
}

}  // namespace

Status point_at_exec(HomeTid tid, const user_regs_struct& fresh) {
    auto process = ProcDir::open(HomePid(tid.value));
    if (!process) return std::unexpected(process.error());
    auto auxv = process->read_text("auxv");
    if (!auxv) return std::unexpected(auxv.error());
    auto memory = process->open_file("mem", O_RDWR);
    if (!memory) return std::unexpected(memory.error());
    auto& abi = abi_of(fresh);
    FreshMemory m(HomePid(tid.value), abi, std::move(*memory), std::move(*auxv));
    auto instruction = m.call_instruction();
    if (!instruction) return fail("its vDSO has no system call instruction");
    auto again = arguments_again(m, abi.word, fresh.rsp);
    if (!again) return std::unexpected(again.error());
    auto regs = fresh;
    regs.rip = *instruction;
    regs.rax = abi.execve;
    regs.orig_rax = ~uint64_t{0};
    set_arguments(regs, again->path, again->argv, again->envp);
    return tracee::set_registers(tid, regs) ? Status{} : fail("it is gone");
}

bool replace_by_opening(HomeTid tid, user_regs_struct call) {
    call.orig_rax = abi_of(call).prctl;
    set_arguments(call, PR_SET_DUMPABLE, 1, 0);
    return tracee::set_registers(tid, call);
}

}  // namespace omx
