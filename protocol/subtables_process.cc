// prctl, seccomp, kcmp, keyctl, syslog, landlock_add_rule: what their commands take.
#include "protocol/row_words.h"
#include "protocol/subtables.h"

namespace omx {

using namespace words;

namespace {

uint64_t first(const CallArgs& args) { return static_cast<uint32_t>(args[0]); }
uint64_t second(const CallArgs& args) { return static_cast<uint32_t>(args[1]); }
uint64_t third(const CallArgs& args) { return static_cast<uint32_t>(args[2]); }

// All remaining arguments are plain numbers: some options insist on zeroes in those that they do not use.
constexpr Args numbers{command, hex, hex, hex, hex};
constexpr Variant option(uint32_t number, std::string_view name, Arg argument = hex) {
    return variant(number, name, forward, {command, argument, hex, hex, hex});
}
constexpr Variant option_home(uint64_t number, std::string_view name, std::string_view why) {
    return variant(number, name, home, {command, address, address, address, address}, why);
}
constexpr Variant option_both(uint32_t number, std::string_view name, Arg argument, std::string_view why) {
    return variant(number, name, both, {command, argument, hex, hex, hex}, why);
}
constexpr Variant option_local(uint32_t number, std::string_view name) {
    return variant(number, name, local, {command, address, address, address, address});
}
constexpr Arg out4 = out(bytes(4));
constexpr std::string_view kCpuState = "it changes how the processor runs the guest, on the node";

constexpr Variant prctls[] = {
    option(1, "PR_SET_PDEATHSIG", signo),
    option(2, "PR_GET_PDEATHSIG", out4),
    option(3, "PR_GET_DUMPABLE"),
    option(4, "PR_SET_DUMPABLE", num),
    option(5, "PR_GET_UNALIGN", out4),
    option(6, "PR_SET_UNALIGN"),
    option(7, "PR_GET_KEEPCAPS"),
    option(8, "PR_SET_KEEPCAPS"),
    option(9, "PR_GET_FPEMU", out4),
    option(10, "PR_SET_FPEMU"),
    option(11, "PR_GET_FPEXC", out4),
    option(12, "PR_SET_FPEXC"),
    option(13, "PR_GET_TIMING"),
    option(14, "PR_SET_TIMING"),
    option_both(15, "PR_SET_NAME", text(16), "the thread has its name on the node, too"),
    option(16, "PR_GET_NAME", out(bytes(16))),
    option(19, "PR_GET_ENDIAN", out4),
    option(20, "PR_SET_ENDIAN"),
    option(21, "PR_GET_SECCOMP"),
    option_home(22, "PR_SET_SECCOMP", "a filter of the guest's would judge the deputy's own calls"),
    option(23, "PR_CAPBSET_READ"),
    option(24, "PR_CAPBSET_DROP"),
    option(25, "PR_GET_TSC", out4),
    option_home(26, "PR_SET_TSC", kCpuState),
    option(27, "PR_GET_SECUREBITS"),
    option(28, "PR_SET_SECUREBITS"),
    option_both(29, "PR_SET_TIMERSLACK", size, "sleeping without forwarding is the node's"),
    option(30, "PR_GET_TIMERSLACK"),
    option(31, "PR_TASK_PERF_EVENTS_DISABLE"),
    option(32, "PR_TASK_PERF_EVENTS_ENABLE"),
    option(33, "PR_MCE_KILL"),
    option(34, "PR_MCE_KILL_GET"),
    option_home(35, "PR_SET_MM", "it moves the bounds of memory that is on the node"),
    option(36, "PR_SET_CHILD_SUBREAPER"),
    option(37, "PR_GET_CHILD_SUBREAPER", out4),
    option(38, "PR_SET_NO_NEW_PRIVS"),
    option(39, "PR_GET_NO_NEW_PRIVS"),
    option_local(40, "PR_GET_TID_ADDRESS"),
    option_both(41, "PR_SET_THP_DISABLE", num, "the memory that it is about is the node's"),
    option(42, "PR_GET_THP_DISABLE"),
    option(43, "PR_MPX_ENABLE_MANAGEMENT"),
    option(44, "PR_MPX_DISABLE_MANAGEMENT"),
    option(45, "PR_SET_FP_MODE"),
    option(46, "PR_GET_FP_MODE"),
    option(47, "PR_CAP_AMBIENT"),
    option(50, "PR_SVE_SET_VL"),
    option(51, "PR_SVE_GET_VL"),
    option(52, "PR_GET_SPECULATION_CTRL"),
    option_home(53, "PR_SET_SPECULATION_CTRL", kCpuState),
    option(54, "PR_PAC_RESET_KEYS"),
    option(55, "PR_SET_TAGGED_ADDR_CTRL"),
    option(56, "PR_GET_TAGGED_ADDR_CTRL"),
    option(57, "PR_SET_IO_FLUSHER"),
    option(58, "PR_GET_IO_FLUSHER"),
    option_home(59, "PR_SET_SYSCALL_USER_DISPATCH", "it changes which of the guest's calls are calls"),
    option(60, "PR_PAC_SET_ENABLED_KEYS"),
    option(61, "PR_PAC_GET_ENABLED_KEYS"),
    option_home(62, "PR_SCHED_CORE", kCpuState),
    option(63, "PR_SME_SET_VL"),
    option(64, "PR_SME_GET_VL"),
    option_home(65, "PR_SET_MDWE", "it would forbid what restoring the next program needs"),
    option(66, "PR_GET_MDWE"),
    option_both(67, "PR_SET_MEMORY_MERGE", num, "the memory that it is about is the node's"),
    option(68, "PR_GET_MEMORY_MERGE"),
    option_local(78, "PR_FUTEX_HASH"),
    variant(0x41555856, "PR_GET_AUXV", forward, {command, out(times(2), result()), size, hex, hex}),
    option_local(0x53564d41, "PR_SET_VMA"),
    option(0x59616d61, "PR_SET_PTRACER", pid),
};

constexpr Args two{command, hex};
constexpr Arg out8 = out(bytes(8));
constexpr Variant arch_home(uint32_t number, std::string_view name, std::string_view why = kCpuState) {
    return variant(number, name, home, {command, address}, why);
}
constexpr Variant arch_local(uint32_t number, std::string_view name) {
    return variant(number, name, local, {command, address});
}
// What a CPU can do only for who has asked its kernel. It is asked at home, where every guest must be able to run.
constexpr Variant arches[] = {
    arch_local(0x1001, "ARCH_SET_GS"),
    arch_local(0x1002, "ARCH_SET_FS"),
    arch_local(0x1003, "ARCH_GET_FS"),
    arch_local(0x1004, "ARCH_GET_GS"),
    variant(0x1011, "ARCH_GET_CPUID", forward, two),
    arch_home(0x1012, "ARCH_SET_CPUID"),
    variant(0x1021, "ARCH_GET_XCOMP_SUPP", forward, {command, out8}),
    variant(0x1022, "ARCH_GET_XCOMP_PERM", forward, {command, out8}),
    variant(0x1023, "ARCH_REQ_XCOMP_PERM", both, two, "the registers that it asks for are used on the node"),
    variant(0x1024, "ARCH_GET_XCOMP_GUEST_PERM", forward, {command, out8}),
    arch_home(0x1025, "ARCH_REQ_XCOMP_GUEST_PERM"),
    arch_home(0x2001, "ARCH_MAP_VDSO_X32", "the vDSO of a guest is omxsup's"),
    arch_home(0x2002, "ARCH_MAP_VDSO_32", "the vDSO of a guest is omxsup's"),
    arch_home(0x2003, "ARCH_MAP_VDSO_64", "the vDSO of a guest is omxsup's"),
    variant(0x4001, "ARCH_GET_UNTAG_MASK", forward, {command, out8}),
    arch_home(0x4002, "ARCH_ENABLE_TAGGED_ADDR"),
    variant(0x4003, "ARCH_GET_MAX_TAG_BITS", forward, {command, out8}),
    arch_home(0x4004, "ARCH_FORCE_TAGGED_SVA"),
    arch_home(0x5001, "ARCH_SHSTK_ENABLE"),
    variant(0x5002, "ARCH_SHSTK_DISABLE", forward, two),
    variant(0x5003, "ARCH_SHSTK_LOCK", forward, two),
    arch_home(0x5004, "ARCH_SHSTK_UNLOCK"),
    variant(0x5005, "ARCH_SHSTK_STATUS", forward, {command, out8}),
};

// Operation and whether there is a third argument: without one a filter can't be set, and libraries probe that way.
uint64_t seccomp_selector(const CallArgs& args) { return first(args) << 1 | (args[2] ? 1 : 0); }
constexpr std::string_view kFilter = "a filter of the guest's would judge the deputy's own calls";
constexpr Variant seccomps[] = {
    variant(0, "SECCOMP_SET_MODE_STRICT", home, {command, hex, address}, kFilter),
    variant(1, "SECCOMP_SET_MODE_STRICT", forward, {command, hex, hex}),       // EINVAL
    variant(2, "SECCOMP_SET_MODE_FILTER", forward, {command, hex, hex}),       // EFAULT or EINVAL
    variant(3, "SECCOMP_SET_MODE_FILTER", home, {command, hex, address}, kFilter),
    variant(4, "SECCOMP_GET_ACTION_AVAIL", forward, {command, hex, hex}),
    variant(5, "SECCOMP_GET_ACTION_AVAIL", forward, {command, hex, in(bytes(4))}),
    variant(6, "SECCOMP_GET_NOTIF_SIZES", forward, {command, hex, hex}),
    variant(7, "SECCOMP_GET_NOTIF_SIZES", forward, {command, hex, out(bytes(6))}),
};

constexpr Args two_numbers{pid, pid, command, hex, hex};
constexpr Variant kcmps[] = {
    variant(0, "KCMP_FILE", forward, two_numbers),
    variant(1, "KCMP_VM", memory_of, two_numbers, "deputies never share memory, guests may"),
    variant(2, "KCMP_FILES", forward, two_numbers),
    variant(3, "KCMP_FS", forward, two_numbers),
    variant(4, "KCMP_SIGHAND", forward, two_numbers),
    variant(5, "KCMP_IO", forward, two_numbers),
    variant(6, "KCMP_SYSVSEM", forward, two_numbers),
    variant(7, "KCMP_EPOLL_TFD", forward, {pid, pid, command, hex, in(bytes(12))}),
};

constexpr Variant keys(uint32_t number, std::string_view name) { return variant(number, name, forward, numbers); }
constexpr Arg answer = out(at_most(1u << 20, times(3)), result_if_fits);
constexpr Variant keyctls[] = {
    keys(0, "KEYCTL_GET_KEYRING_ID"),
    variant(1, "KEYCTL_JOIN_SESSION_KEYRING", forward, {command, label}),
    variant(2, "KEYCTL_UPDATE", forward, {command, num, in(at_most(1u << 20, times(3))), size}),
    keys(3, "KEYCTL_REVOKE"),
    keys(4, "KEYCTL_CHOWN"),
    keys(5, "KEYCTL_SETPERM"),
    variant(6, "KEYCTL_DESCRIBE", forward, {command, num, answer, size}),
    keys(7, "KEYCTL_CLEAR"),
    keys(8, "KEYCTL_LINK"),
    keys(9, "KEYCTL_UNLINK"),
    variant(10, "KEYCTL_SEARCH", forward, {command, num, label, label, num}),
    variant(11, "KEYCTL_READ", forward, {command, num, answer, size}),
    variant(12, "KEYCTL_INSTANTIATE", forward, {command, num, in(at_most(1u << 20, times(3))), size, num}),
    keys(13, "KEYCTL_NEGATE"),
    keys(14, "KEYCTL_SET_REQKEY_KEYRING"),
    keys(15, "KEYCTL_SET_TIMEOUT"),
    keys(16, "KEYCTL_ASSUME_AUTHORITY"),
    variant(17, "KEYCTL_GET_SECURITY", forward, {command, num, out(at_most(1u << 20, times(3)), result()), size}),
    keys(18, "KEYCTL_SESSION_TO_PARENT"),
    keys(19, "KEYCTL_REJECT"),
    variant(20, "KEYCTL_INSTANTIATE_IOV", forward, {command, num, iovec_in(3), size, num}),
    keys(21, "KEYCTL_INVALIDATE"),
    keys(22, "KEYCTL_GET_PERSISTENT"),
    variant(29, "KEYCTL_RESTRICT_KEYRING", forward, {command, num, label, label}),
    keys(30, "KEYCTL_MOVE"),
    variant(31, "KEYCTL_CAPABILITIES", forward, {command, out(at_most(4096, times(2))), size}),
    keys(32, "KEYCTL_WATCH_KEY"),
};

constexpr Arg log_buffer = out(at_most(16u << 20, times_int(2)), result());
constexpr Args no_log{command, hex, num};
constexpr Variant syslogs[] = {
    variant(0, "SYSLOG_ACTION_CLOSE", forward, no_log),
    variant(1, "SYSLOG_ACTION_OPEN", forward, no_log),
    [] {
        Variant waits = variant(2, "SYSLOG_ACTION_READ", forward, {command, log_buffer, num});
        waits.blocks = true;
        return waits;
    }(),
    variant(3, "SYSLOG_ACTION_READ_ALL", forward, {command, log_buffer, num}),
    variant(4, "SYSLOG_ACTION_READ_CLEAR", forward, {command, log_buffer, num}),
};

constexpr Variant landlocks[] = {
    variant(1, "LANDLOCK_RULE_PATH_BENEATH", forward, {fd, command, in(bytes(12)), hex}),
    variant(2, "LANDLOCK_RULE_NET_PORT", forward, {fd, command, in(bytes(16)), hex}),
};

constexpr std::string_view kUnknown = "an option whose arguments omxsup does not know";

}  // namespace

const Subtable prctl_options{
    .title = "prctl option", .selector = first, .variants = prctls,
    .other = variant(0, {}, home, {command, address, address, address, address}, kUnknown),
    .nonsense_from = 0x80000000, .nonsense = variant(0, {}, forward, numbers),      // kHidden is found before
};
const Subtable seccomp_operations{
    .title = "seccomp operation", .selector = seccomp_selector, .variants = seccomps,
    .other = variant(0, {}, home, {command, hex, address}, kUnknown),
    .nonsense_from = uint64_t{4096} << 1, .nonsense = variant(0, {}, forward, {command, hex, hex}),
};
const Subtable kcmp_types{
    .title = "kcmp type", .selector = third, .variants = kcmps,
    .other = variant(0, {}, home, {pid, pid, command, address, address}, kUnknown),
    .nonsense_from = 4096, .nonsense = variant(0, {}, forward, {pid, pid, num}),
};
const Subtable arch_options{
    .title = "arch_prctl option", .selector = first, .variants = arches,
    .other = variant(0, {}, forward, two), .nonsense = {},      // EINVAL, or home's kernel knows better what it means
};
const Subtable key_operations{
    .title = "keyctl operation", .selector = first, .variants = keyctls,
    .other = variant(0, {}, home, {command, address, address, address, address}, kUnknown),
    .nonsense_from = 4096, .nonsense = variant(0, {}, forward, {command}),
};
const Subtable syslog_actions{
    .title = "syslog action", .selector = first, .variants = syslogs,
    .other = variant(0, {}, forward, no_log), .nonsense = {},      // the other actions take numbers only
};
const Subtable landlock_rules{
    .title = "landlock rule", .selector = second, .variants = landlocks,
    .other = variant(0, {}, home, {fd, command, address, hex}, kUnknown),
    .nonsense_from = 4096, .nonsense = variant(0, {}, forward, {fd, num, hex, hex}),
};

}  // namespace omx
