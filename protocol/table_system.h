// Rows: the machine, its clock, modules, keys, security modules, asynchronous I/O, and calls that Linux no longer has.
#pragma once
#include "protocol/judges.h"
#include "protocol/row_words.h"
#include "protocol/subtables.h"

namespace omx::words {

inline constexpr std::string_view asynchronous =
    "home's kernel would use the guest's memory after the call has returned";
inline constexpr std::string_view rings = "its rings are memory shared with home's kernel";

inline constexpr Row system_rows[] = {
    row(63, "uname", forward, {out(bytes(390))}),
    row(99, "sysinfo", forward, {out(bytes(112))}),
    row(103, "syslog", forward, {command, hex, num}).by(syslog_actions),
    row(153, "vhangup", forward),
    row(159, "adjtimex", forward, {inout(bytes(208))}),
    row(164, "settimeofday", forward, {in(bytes(16)), in(bytes(8))}),
    row(169, "reboot", forward, {hex, hex, hex, text(256)}),
    row(170, "sethostname", forward, {in(at_most(65, times_int(1))), num}),
    row(171, "setdomainname", forward, {in(at_most(65, times_int(1))), num}),
    row(175, "init_module", forward, {in(times(1)), size, text(65536)}),
    row(176, "delete_module", forward, {label, hex}),
    row(227, "clock_settime", forward, {num, in(bytes(16))}),
    row(305, "clock_adjtime", forward, {num, inout(bytes(208))}),
    row(313, "finit_module", forward, {fd, text(65536), hex}),
    row(246, "kexec_load", home, {size, size, address, hex})
        .because("it loads another kernel from the caller's memory"),
    row(320, "kexec_file_load", forward, {fd, fd, size, in(times(2)), hex}),

    row(248, "add_key", forward, {label, label, in(at_most(1u << 20, times(3))), size, num}),
    row(249, "request_key", forward, {label, label, label, num}).blocking(),
    row(250, "keyctl", forward, {command, hex, hex, hex, hex}).by(key_operations),
    row(317, "seccomp", forward, {command, hex, hex}).by(seccomp_operations),
    row(321, "bpf", home, {num, address, uns}).because("its struct holds pointers of many kinds"),
    row(298, "perf_event_open", home, {address, pid, num, fd, hex})
        .because("it counts what a processor does for a process, and that is on the node"),
    row(444, "landlock_create_ruleset", forward, {in(at_most(4096, times(1))), size, hex}),
    row(445, "landlock_add_rule", forward, {fd, command, hex, hex}).by(landlock_rules),
    row(446, "landlock_restrict_self", forward, {fd, hex}),
    row(459, "lsm_get_self_attr", forward,
        {uns, inout(word_behind(2), written_behind(2)), inout(bytes(4), even_failed()), hex}),
    row(460, "lsm_set_self_attr", forward, {uns, in(at_most(4096, times_unsigned(2))), uns, hex}),
    row(461, "lsm_list_modules", forward,
        {out(word_behind(1), written_behind(1)), inout(bytes(4), even_failed()), hex}),
    row(470, "listns", forward, {in(at_most(4096, total_inside(24))), out(times(2, 8), result(8)), size, hex}),

    row(206, "io_setup", home, {uns, address}).because(asynchronous),
    row(207, "io_destroy", home, {hex}).because(asynchronous),
    row(208, "io_getevents", home, {hex, off, off, address, address}).because(asynchronous),
    row(209, "io_submit", home, {hex, off, address}).because(asynchronous),
    row(210, "io_cancel", home, {hex, address, address}).because(asynchronous),
    row(333, "io_pgetevents", home, {hex, off, off, address, address, address}).because(asynchronous),
    row(425, "io_uring_setup", home, {uns, address}).because(rings),
    row(426, "io_uring_enter", home, {fd, uns, uns, hex, address, size}).because(rings),
    row(427, "io_uring_register", home, {fd, uns, address, uns}).because(rings),

    // Linux has numbers for these, but on x86-64 no kernel since 5.5 does anything. Home says ENOSYS by itself.
    row(174, "create_module", forward),
    row(177, "get_kernel_syms", forward),
    row(178, "query_module", forward),
    row(180, "nfsservctl", forward),
    row(181, "getpmsg", forward),
    row(182, "putpmsg", forward),
    row(183, "afs_syscall", forward),
    row(184, "tuxcall", forward),
    row(185, "security", forward),
    row(205, "set_thread_area", forward),
    row(211, "get_thread_area", forward),
    row(214, "epoll_ctl_old", forward),
    row(215, "epoll_wait_old", forward),
    row(236, "vserver", forward),
    row(212, "lookup_dcookie", forward, {hex, out(times(1), result()), size}),
    row(134, "uselib", home, {address}).because("it maps a library of an old format into the caller"),
    row(156, "_sysctl", home, {address}).because("kernels older than 5.5 follow pointers in its struct"),
};

}  // namespace omx::words
