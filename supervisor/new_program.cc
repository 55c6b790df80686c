#include "loader/task_status.h"
#include "supervisor/new_program.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <vector>

#include "policy/programs.h"

namespace omx {

namespace {

// ---- leak checkers ----

template <class T>
std::optional<std::vector<T>> read_array(int fd, uint64_t offset, uint64_t count, uint64_t most) {
    if (count > most) return std::nullopt;
    std::vector<T> out(count);
    auto bytes = static_cast<ssize_t>(count * sizeof(T));
    if (pread(fd, out.data(), static_cast<size_t>(bytes), static_cast<off_t>(offset)) != bytes) return std::nullopt;
    return out;
}

// The names that the file's dynamic section speaks of: libraries it needs and symbols it has and wants.
template <class Ehdr, class Phdr, class Dyn>
std::string dynamic_names(int fd) {
    constexpr uint64_t most_entries = 4096, most_bytes = 64 << 20;
    auto header = read_array<Ehdr>(fd, 0, 1, 1);
    if (!header || header->front().e_phentsize != sizeof(Phdr)) return "";
    auto segments = read_array<Phdr>(fd, header->front().e_phoff, header->front().e_phnum, most_entries);
    if (!segments) return "";
    auto dynamic = std::ranges::find(*segments, uint32_t{PT_DYNAMIC}, &Phdr::p_type);
    if (dynamic == segments->end()) return "";
    auto entries = read_array<Dyn>(fd, dynamic->p_offset, dynamic->p_filesz / sizeof(Dyn), most_entries);
    if (!entries) return "";
    uint64_t address = 0, bytes = 0;
    for (auto& e : *entries) {
        if (e.d_tag == DT_STRTAB) address = e.d_un.d_ptr;
        if (e.d_tag == DT_STRSZ) bytes = e.d_un.d_val;
    }
    for (auto& s : *segments) {
        if (s.p_type != PT_LOAD || address < s.p_vaddr || address - s.p_vaddr >= s.p_filesz) continue;
        auto names = read_array<char>(fd, s.p_offset + (address - s.p_vaddr), bytes, most_bytes);
        return names ? std::string(names->begin(), names->end()) : "";
    }
    return "";
}

// The runtime as a library, or its hooks and entry points, which show where it is linked in, stripped or not.
bool names_leak_checker(std::string_view names) {
    constexpr std::string_view signs[] = {"libasan.so", "liblsan.so",  "libclang_rt.asan",
                                          "__lsan_init", "__asan_init", "__sanitizer_malloc_hook"};
    return std::ranges::any_of(signs, [&](auto sign) { return names.find(sign) != names.npos; });
}

// ---- privileges ----

std::string text_of(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::string by_descriptor(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

// Would the kernel have given this process another user, group or capabilities, were it not traced? A wrong yes costs
// only that the process stays at home.
std::string raised_by(int executable, HomePid pid) {
    struct stat file;
    struct statvfs mount;
    if (fstat(executable, &file) != 0 || fstatvfs(executable, &mount) != 0) return "";
    if (mount.f_flag & ST_NOSUID) return "";
    TaskStatus status(pid);
    if (status.number("NoNewPrivs") == 1) return "";
    if ((file.st_mode & S_ISUID) && file.st_uid != status.number("Uid")) return "setuid";
    constexpr mode_t setgid = S_ISGID | S_IXGRP;  // without the second it means something else
    if ((file.st_mode & setgid) == setgid && file.st_gid != status.number("Gid")) return "setgid";
    bool capable = getxattr(by_descriptor(executable).c_str(), "security.capability", nullptr, 0) > 0;
    return capable ? "file capabilities" : "";
}

// Such a library may also come from outside the file.
bool preloads_leak_checker(HomePid pid) {
    auto environment = text_of(fmt::format("/proc/{}/environ", pid.value));
    constexpr std::string_view variable("\0LD_PRELOAD=", 12);
    environment.insert(0, 1, '\0');
    auto at = environment.find(variable);
    return at != environment.npos && names_leak_checker(environment.c_str() + at + variable.size());
}

// Why no program of this process can leave; empty: nothing is in the way. A guest asks its node for its numbers and the
// time, and the deputy's own calls must not meet a filter.
std::string bound_to_home(HomePid pid) {
    for (const char* name : {"pid", "time"}) {
        struct stat its, ours;
        if (stat(fmt::format("/proc/{}/ns/{}", pid.value, name).c_str(), &its) == 0 &&
            stat(fmt::format("/proc/self/ns/{}", name).c_str(), &ours) == 0 && its.st_ino != ours.st_ino)
            return fmt::format("it is in a {} namespace of its own", name);
    }
    if (TaskStatus(pid).number("Seccomp") != 0) return "it has a filter for its system calls";
    return {};
}

}  // namespace

bool holds_leak_checker(int executable) {
    unsigned char ident[EI_NIDENT];
    if (pread(executable, ident, sizeof ident, 0) != sizeof ident || memcmp(ident, ELFMAG, SELFMAG) != 0) return false;
    return names_leak_checker(ident[EI_CLASS] == ELFCLASS64
                                  ? dynamic_names<Elf64_Ehdr, Elf64_Phdr, Elf64_Dyn>(executable)
                                  : dynamic_names<Elf32_Ehdr, Elf32_Phdr, Elf32_Dyn>(executable));
}

bool LeakCheckers::in(int executable) {
    struct stat s;
    if (fstat(executable, &s) != 0) return false;
    Key key{s.st_dev, s.st_ino, s.st_size, s.st_ctim.tv_sec, s.st_ctim.tv_nsec};
    if (auto it = known_.find(key); it != known_.end()) return it->second;
    if (known_.size() >= kRemembered) known_.clear();
    return known_[key] = holds_leak_checker(executable);
}

std::string program_of(HomePid pid) {
    char path[4096];
    auto n = readlink(fmt::format("/proc/{}/exe", pid.value).c_str(), path, sizeof path);
    if (n > 0) return {path, static_cast<size_t>(n)};
    auto name = text_of(fmt::format("/proc/{}/comm", pid.value));
    return name.substr(0, name.find('\n'));
}

Judgement judge_new_program(HomePid pid, bool privileged, LeakCheckers& leak_checkers) {
    auto link = fmt::format("/proc/{}/exe", pid.value);
    UniqueFd executable(open(link.c_str(), O_RDONLY | O_CLOEXEC));
    // The kernel shuts everybody out of a process whose file its user may not read; that file may be setuid, too.
    if (!executable && (errno == EACCES || errno == EPERM))
        return {Hold::exec_again, "its file may be executed, but not be read"};
    if (!executable) return {};
    if (!privileged)
        if (auto how = raised_by(executable.get(), pid); !how.empty())
            return {Hold::exec_again, fmt::format("it gets privileges ({}), which no traced process gets", how)};
    if (traces_others(program_of(pid)))
        return {Hold::let_go, "it traces others, which no traced process's children let it"};
    if (leak_checkers.in(executable.get()) || preloads_leak_checker(pid))
        return {Hold::let_go, "it looks for leaks, which no traced process can"};
    return {Hold::keep, bound_to_home(pid)};
}

bool may_trace_anybody() {
    return TaskStatus(HomePid(getpid())).mask("CapEff") >> CAP_SYS_PTRACE & 1;
}

}  // namespace omx
