#include "protocol/trace_names.h"
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <span>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

namespace omx {

namespace {

struct Name { uint64_t value; const char* text; };

#define OMX_NAME(constant) Name{static_cast<uint64_t>(constant), #constant}

constexpr Name opening[] = {
    // Bits that contain others come first.
    OMX_NAME(O_TMPFILE), OMX_NAME(O_DIRECTORY), {04010000, "O_SYNC"}, OMX_NAME(O_DSYNC), OMX_NAME(O_CREAT),
    OMX_NAME(O_EXCL), OMX_NAME(O_NOCTTY), OMX_NAME(O_TRUNC), OMX_NAME(O_APPEND), OMX_NAME(O_NONBLOCK),
    OMX_NAME(O_ASYNC), OMX_NAME(O_DIRECT), {0100000, "O_LARGEFILE"}, OMX_NAME(O_NOFOLLOW), OMX_NAME(O_NOATIME),
    OMX_NAME(O_CLOEXEC), OMX_NAME(O_PATH),
};
constexpr Name at_lookup[] = {
    OMX_NAME(AT_SYMLINK_NOFOLLOW), {0x200, "AT_REMOVEDIR"}, OMX_NAME(AT_SYMLINK_FOLLOW),
    OMX_NAME(AT_NO_AUTOMOUNT), OMX_NAME(AT_EMPTY_PATH), {0x2000, "AT_STATX_FORCE_SYNC"},
    {0x4000, "AT_STATX_DONT_SYNC"}, OMX_NAME(AT_RECURSIVE),
};
constexpr Name protections[] = {
    OMX_NAME(PROT_READ), OMX_NAME(PROT_WRITE), OMX_NAME(PROT_EXEC), OMX_NAME(PROT_GROWSDOWN),
};
constexpr Name mappings[] = {
    OMX_NAME(MAP_SHARED_VALIDATE), OMX_NAME(MAP_SHARED), OMX_NAME(MAP_PRIVATE), OMX_NAME(MAP_FIXED),
    OMX_NAME(MAP_ANONYMOUS), OMX_NAME(MAP_GROWSDOWN), OMX_NAME(MAP_DENYWRITE), OMX_NAME(MAP_LOCKED),
    OMX_NAME(MAP_NORESERVE), OMX_NAME(MAP_POPULATE), OMX_NAME(MAP_STACK), OMX_NAME(MAP_HUGETLB),
    OMX_NAME(MAP_FIXED_NOREPLACE),
};
constexpr Name cloning[] = {
    OMX_NAME(CLONE_VM), OMX_NAME(CLONE_FS), OMX_NAME(CLONE_FILES), OMX_NAME(CLONE_SIGHAND), OMX_NAME(CLONE_PIDFD),
    OMX_NAME(CLONE_PTRACE), OMX_NAME(CLONE_VFORK), OMX_NAME(CLONE_PARENT), OMX_NAME(CLONE_THREAD),
    OMX_NAME(CLONE_NEWNS), OMX_NAME(CLONE_SYSVSEM), OMX_NAME(CLONE_SETTLS), OMX_NAME(CLONE_PARENT_SETTID),
    OMX_NAME(CLONE_CHILD_CLEARTID), OMX_NAME(CLONE_DETACHED), OMX_NAME(CLONE_UNTRACED),
    OMX_NAME(CLONE_CHILD_SETTID), OMX_NAME(CLONE_NEWCGROUP), OMX_NAME(CLONE_NEWUTS), OMX_NAME(CLONE_NEWIPC),
    OMX_NAME(CLONE_NEWUSER), OMX_NAME(CLONE_NEWPID), OMX_NAME(CLONE_NEWNET), OMX_NAME(CLONE_IO),
    OMX_NAME(CLONE_CLEAR_SIGHAND), OMX_NAME(CLONE_INTO_CGROUP),
};
constexpr Name sending[] = {
    OMX_NAME(MSG_OOB), OMX_NAME(MSG_PEEK), OMX_NAME(MSG_DONTROUTE), OMX_NAME(MSG_TRUNC), OMX_NAME(MSG_DONTWAIT),
    OMX_NAME(MSG_EOR), OMX_NAME(MSG_WAITALL), OMX_NAME(MSG_CONFIRM), OMX_NAME(MSG_ERRQUEUE),
    OMX_NAME(MSG_NOSIGNAL), OMX_NAME(MSG_MORE), OMX_NAME(MSG_WAITFORONE), OMX_NAME(MSG_ZEROCOPY),
    OMX_NAME(MSG_FASTOPEN), OMX_NAME(MSG_CMSG_CLOEXEC),
};
constexpr Name waiting[] = {
    OMX_NAME(WNOHANG), OMX_NAME(WSTOPPED), OMX_NAME(WEXITED), OMX_NAME(WCONTINUED), OMX_NAME(WNOWAIT),
    OMX_NAME(__WALL), OMX_NAME(__WCLONE),
};
constexpr Name families[] = {
    OMX_NAME(AF_UNSPEC), OMX_NAME(AF_UNIX), OMX_NAME(AF_INET), OMX_NAME(AF_INET6), OMX_NAME(AF_NETLINK),
    OMX_NAME(AF_PACKET), OMX_NAME(AF_VSOCK), OMX_NAME(AF_ALG),
};
constexpr Name kinds[] = {
    OMX_NAME(SOCK_STREAM), OMX_NAME(SOCK_DGRAM), OMX_NAME(SOCK_RAW), OMX_NAME(SOCK_SEQPACKET),
    OMX_NAME(SOCK_PACKET),
};
constexpr Name seeking[] = {
    OMX_NAME(SEEK_SET), OMX_NAME(SEEK_CUR), OMX_NAME(SEEK_END), OMX_NAME(SEEK_DATA), OMX_NAME(SEEK_HOLE),
};

#undef OMX_NAME

std::string one_of(std::span<const Name> names, uint64_t value) {
    for (const Name& n : names) if (n.value == value) return n.text;
    return fmt::format("{}", value);
}

// All that are set, joined; what has no name stays a number. `text` is what there is already.
std::string flags(std::span<const Name> names, uint64_t value, std::string text = {}) {
    auto join = [&text](std::string_view more) { text += text.empty() ? "" : "|"; text += more; };
    for (const Name& n : names) {
        if ((value & n.value) != n.value) continue;
        join(n.text);
        value &= ~n.value;
    }
    if (value) join(fmt::format("{:#x}", value));
    return text.empty() ? "0" : text;
}

std::string opening_flags(uint64_t value) {
    constexpr const char* modes[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};
    return flags(opening, value & ~uint64_t{O_ACCMODE}, modes[value & O_ACCMODE]);
}

std::string socket_kind(uint64_t value) {
    constexpr Name modifiers[] = {{SOCK_CLOEXEC, "SOCK_CLOEXEC"}, {SOCK_NONBLOCK, "SOCK_NONBLOCK"}};
    return flags(modifiers, value & ~uint64_t{15}, one_of(kinds, value & 15));
}

std::string signal_text(int number) {
    const char* name = sigabbrev_np(number);
    return name && number != 0 ? fmt::format("SIG{}", name) : fmt::format("{}", number);
}

std::string cloning_flags(uint64_t value) {
    std::string text = flags(cloning, value & ~uint64_t{CSIGNAL});
    return value & CSIGNAL ? text + "|" + signal_text(static_cast<int>(value & CSIGNAL)) : text;
}

}  // namespace

std::string format_value(Show show, uint64_t value) {
    auto low = static_cast<uint32_t>(value);
    auto number = static_cast<int32_t>(low);
    switch (show) {
    case Show::none: return "";
    case Show::signed32: case Show::fd: case Show::pid: return fmt::format("{}", number);
    case Show::unsigned32: return fmt::format("{}", low);
    case Show::signed64: return fmt::format("{}", static_cast<int64_t>(value));
    case Show::unsigned64: return fmt::format("{}", value);
    case Show::hex: case Show::command: return value ? fmt::format("{:#x}", value) : "0";
    case Show::octal: return fmt::format("{:#o}", low);
    case Show::dirfd: return number == AT_FDCWD ? "AT_FDCWD" : fmt::format("{}", number);
    case Show::signo: return signal_text(number);
    case Show::address: return value ? fmt::format("{:#x}", value) : "NULL";
    case Show::open_flags: return opening_flags(low);
    case Show::at_flags: return flags(at_lookup, low);
    case Show::protection: return low ? flags(protections, low) : "PROT_NONE";
    case Show::map_flags: return flags(mappings, low);
    case Show::clone_flags: return cloning_flags(value);
    case Show::whence: return one_of(seeking, low);
    case Show::domain: return one_of(families, low);
    case Show::socket_type: return socket_kind(low);
    case Show::message_flags: return flags(sending, low);
    case Show::wait_options: return flags(waiting, low);
    }
    return "";
}

}  // namespace omx
