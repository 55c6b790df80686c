// fcntl, quotactl, fsconfig, sysfs and file handles: what their commands take.
#include "protocol/row_words.h"
#include "protocol/subtables.h"

namespace omx {

using namespace words;

namespace {

uint64_t second(const CallArgs& args) { return static_cast<uint32_t>(args[1]); }

constexpr Variant lock(uint32_t number, std::string_view name, Arg argument, bool waits = false) {
    Variant v = variant(number, name, forward, {fd, command, argument});
    v.blocks = waits;
    return v;
}
constexpr Variant control(uint32_t number, std::string_view name, Arg argument = none) {
    return variant(number, name, forward, {fd, command, argument});
}
constexpr Arg flock_in = in(bytes(32)), flock_inout = inout(bytes(32)), out8 = out(bytes(8)), in8 = in(bytes(8));

constexpr Variant fcntls[] = {
    control(0, "F_DUPFD", fd),
    control(1, "F_GETFD"),
    control(2, "F_SETFD", hex),
    control(3, "F_GETFL"),
    control(4, "F_SETFL", open_flags),
    lock(5, "F_GETLK", flock_inout),
    lock(6, "F_SETLK", flock_in),
    lock(7, "F_SETLKW", flock_in, true),
    control(8, "F_SETOWN", pid),
    control(9, "F_GETOWN"),
    control(10, "F_SETSIG", signo),
    control(11, "F_GETSIG"),
    control(15, "F_SETOWN_EX", in8),
    control(16, "F_GETOWN_EX", out8),
    control(17, "F_GETOWNER_UIDS", out8),
    lock(36, "F_OFD_GETLK", flock_inout),
    lock(37, "F_OFD_SETLK", flock_in),
    lock(38, "F_OFD_SETLKW", flock_in, true),
    control(1024, "F_SETLEASE", num),
    control(1025, "F_GETLEASE"),
    control(1026, "F_NOTIFY", hex),
    control(1027, "F_DUPFD_QUERY", fd),
    control(1028, "F_CREATED_QUERY"),
    control(1029, "F_CANCELLK", flock_in),
    control(1030, "F_DUPFD_CLOEXEC", fd),
    control(1031, "F_SETPIPE_SZ", num),
    control(1032, "F_GETPIPE_SZ"),
    control(1033, "F_ADD_SEALS", hex),
    control(1034, "F_GET_SEALS"),
    control(1035, "F_GET_RW_HINT", out8),
    control(1036, "F_SET_RW_HINT", in8),
    control(1037, "F_GET_FILE_RW_HINT", out8),
    control(1038, "F_SET_FILE_RW_HINT", in8),
};

// quotactl's commands stand in the upper 24 bits, above the kind of quota.
constexpr Variant quota(uint32_t number, std::string_view name, Arg argument = none) {
    return variant(number, name, forward, {command, path, id, argument});
}
constexpr Variant quota_of_fd(uint32_t number, std::string_view name, Arg argument = none) {
    return variant(number, name, forward, {fd, command, id, argument});
}
uint64_t quota_selector(const CallArgs& args) { return static_cast<uint32_t>(args[0]) >> 8; }
uint64_t quota_fd_selector(const CallArgs& args) { return static_cast<uint32_t>(args[1]) >> 8; }

template <auto make> constexpr auto quota_list = std::to_array<Variant>({
    make(0x5801, "Q_XQUOTAON", in(bytes(4))),
    make(0x5802, "Q_XQUOTAOFF", in(bytes(4))),
    make(0x5803, "Q_XGETQUOTA", out(bytes(112))),
    make(0x5804, "Q_XSETQLIM", in(bytes(112))),
    make(0x5805, "Q_XGETQSTAT", out(bytes(80))),
    make(0x5806, "Q_XQUOTARM", in(bytes(4))),
    make(0x5807, "Q_XQUOTASYNC", none),
    make(0x5809, "Q_XGETNEXTQUOTA", out(bytes(112))),
    make(0x800001, "Q_SYNC", none),
    make(0x800002, "Q_QUOTAON", path),
    make(0x800003, "Q_QUOTAOFF", none),
    make(0x800004, "Q_GETFMT", out(bytes(4))),
    make(0x800005, "Q_GETINFO", out(bytes(24))),
    make(0x800006, "Q_SETINFO", in(bytes(24))),
    make(0x800007, "Q_GETQUOTA", out(bytes(72))),
    make(0x800008, "Q_SETQUOTA", in(bytes(72))),
    make(0x800009, "Q_GETNEXTQUOTA", out(bytes(80))),
});
constexpr auto quotas = quota_list<quota>;
constexpr auto quotas_of_fd = quota_list<quota_of_fd>;

constexpr Variant fsconfigs[] = {
    variant(0, "FSCONFIG_SET_FLAG", forward, {fd, command, label, address, num}),
    variant(1, "FSCONFIG_SET_STRING", forward, {fd, command, label, label, num}),
    variant(2, "FSCONFIG_SET_BINARY", forward, {fd, command, label, in(at_most(1u << 20, times_int(4))), num}),
    variant(3, "FSCONFIG_SET_PATH", forward, {fd, command, label, path, dirfd}),
    variant(4, "FSCONFIG_SET_PATH_EMPTY", forward, {fd, command, label, path, dirfd}),
    variant(5, "FSCONFIG_SET_FD", forward, {fd, command, label, hex, fd}),
    variant(6, "FSCONFIG_CMD_CREATE", forward, {fd, command, hex, hex, num}),
    variant(7, "FSCONFIG_CMD_RECONFIGURE", forward, {fd, command, hex, hex, num}),
    variant(8, "FSCONFIG_CMD_CREATE_EXCL", forward, {fd, command, hex, hex, num}),
};

uint64_t first(const CallArgs& args) { return static_cast<uint32_t>(args[0]); }

constexpr Variant sysfs_list[] = {
    variant(1, "1", forward, {command, label}),
    variant(2, "2", forward, {command, uns, inout(bytes(256), changed)}),
    variant(3, "3", forward, {command}),
};

uint64_t unique_mount(const CallArgs& args) { return args[4] & 1; }      // AT_HANDLE_MNT_ID_UNIQUE

// The handle tells its capacity; too small a one gets the size it should have had, with EOVERFLOW.
constexpr Arg file_handle = inout(at_most(136, inside(8, 0, 1)), even_failed());
constexpr Variant handles[] = {
    variant(0, "name_to_handle_at", forward, {dirfd, path, file_handle, out(bytes(4)), at_flags}),
    variant(1, "name_to_handle_at", forward, {dirfd, path, file_handle, out(bytes(8)), at_flags}),
};

constexpr std::string_view kUnknownCommand = "a command whose argument omxsup does not know";

}  // namespace

const Subtable fcntl_commands{
    .title = "fcntl command", .selector = second, .variants = fcntls,
    .other = variant(0, {}, home, {fd, command, address}, kUnknownCommand),
    .nonsense_from = 4096, .nonsense = variant(0, {}, forward, {fd, hex}),
};
const Subtable quota_commands{
    .title = "quotactl command", .selector = quota_selector, .variants = quotas,
    .other = variant(0, {}, home, {command, path, id, address}, kUnknownCommand), .nonsense = {},
};
const Subtable quota_fd_commands{
    .title = "quotactl_fd command", .selector = quota_fd_selector, .variants = quotas_of_fd,
    .other = variant(0, {}, home, {fd, command, id, address}, kUnknownCommand), .nonsense = {},
};
const Subtable fsconfig_commands{
    .title = "fsconfig command", .selector = second, .variants = fsconfigs,
    .other = variant(0, {}, home, {fd, command, label, address, num}, kUnknownCommand), .nonsense = {},
};
const Subtable sysfs_options{
    .title = "sysfs option", .selector = first, .variants = sysfs_list,
    .other = variant(0, {}, forward, {command}), .nonsense = {},       // EINVAL: there will never be another
};
const Subtable handle_forms{
    .title = "", .selector = unique_mount, .variants = handles, .other = {}, .nonsense = {},
};

}  // namespace omx
