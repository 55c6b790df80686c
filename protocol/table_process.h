// Rows: processes, threads, ids, limits, scheduling, signals, timers.
#pragma once
#include "protocol/judges.h"
#include "protocol/row_words.h"
#include "protocol/subtables.h"

namespace omx::words {

inline constexpr Arg rusage_out = out(bytes(144), if_positive), limit_in = in(bytes(16)), limit_out = out(bytes(16));
inline constexpr Arg siginfo_in = in(bytes(128)), sched_param_in = in(bytes(4)), id_out = out(bytes(4));
inline constexpr Arg itimer_in = in(bytes(32)), itimer_out = out(bytes(32));

inline constexpr When exit_word_asked[] = {{0, 0xffffffff, 40}};      // PR_GET_TID_ADDRESS

inline constexpr Row process_rows[] = {
    // Both halves act together.
    row(56, "clone", life, {clone_flags, address, address, address, address}).by(place_clone)
        .because("deputy and guest get a new thread or child each, with one number"),
    row(57, "fork", life).because("deputy and guest get a child each, with one number"),
    row(58, "vfork", life).because("deputy and guest get a child each, with one number"),
    row(59, "execve", life, {path, texts, texts}).blocking()
        .because("the deputy executes the file; the new image is sent to the node"),
    row(60, "exit", life, {num}).because("the deputy's thread ends ahead of all that comes behind"),
    row(231, "exit_group", life, {num}).because("the guest ends first, then the deputy with the same status"),
    row(322, "execveat", life, {dirfd, path, texts, texts, at_flags}).blocking()
        .because("the deputy executes the file; the new image is sent to the node"),
    row(435, "clone3", life, {address, size})
        .because("made into a clone: deputy and guest get a new thread or child each, with one number"),

    // Namespaces.
    row(272, "unshare", forward, {clone_flags}).by(place_unshare),
    row(308, "setns", home, {fd, clone_flags}).because("a process in namespaces of its own can't be served yet"),

    // Waiting for children, ids, groups, sessions.
    row(61, "wait4", forward, {pid, out(bytes(4), if_positive), wait_options, rusage_out}).blocking(),
    // Only parts of siginfo are written, and rusage only if there is a child: what was there before must stay.
    row(247, "waitid", forward, {num, pid, inout(bytes(28)), wait_options, inout(bytes(144))}).blocking(),
    row(102, "getuid", forward),
    row(104, "getgid", forward),
    row(105, "setuid", forward, {id}),
    row(106, "setgid", forward, {id}),
    row(107, "geteuid", forward),
    row(108, "getegid", forward),
    row(109, "setpgid", forward, {pid, pid}),
    row(110, "getppid", forward),
    row(111, "getpgrp", forward),
    row(112, "setsid", forward),
    row(113, "setreuid", forward, {id, id}),
    row(114, "setregid", forward, {id, id}),
    row(115, "getgroups", forward, {num, out(at_most(262144, times_int(0, 4)), result(4))}),
    row(116, "setgroups", forward, {num, in(at_most(262144, times_int(0, 4)))}),
    row(117, "setresuid", forward, {id, id, id}),
    row(118, "getresuid", forward, {id_out, id_out, id_out}),
    row(119, "setresgid", forward, {id, id, id}),
    row(120, "getresgid", forward, {id_out, id_out, id_out}),
    row(121, "getpgid", forward, {pid}),
    row(122, "setfsuid", forward, {id}),
    row(123, "setfsgid", forward, {id}),
    row(124, "getsid", forward, {pid}),
    row(125, "capget", forward, {in_maybe_out(bytes(8), even_failed()), inout(bytes(24))}),
    row(126, "capset", forward, {in_maybe_out(bytes(8), even_failed()), in(bytes(24))}),
    row(424, "pidfd_send_signal", forward, {fd, signo, siginfo_in, hex}),
    row(434, "pidfd_open", forward, {pid, hex}),
    row(438, "pidfd_getfd", forward, {fd, fd, hex}),
    row(312, "kcmp", forward, {pid, pid, command, hex, hex}).by(kcmp_types),
    row(135, "personality", both, {hex}).by(place_personality).returning(Returns::hex)
        .because("it changes how memory is laid out on the node, too"),
    row(157, "prctl", forward, {command, hex, hex, hex, hex})
        .allowed_when(exit_word_asked).by(prctl_options),

    // Limits and accounts.
    row(97, "getrlimit", forward, {num, limit_out}),
    row(160, "setrlimit", forward, {num, limit_in}).by(place_setrlimit),
    row(302, "prlimit64", forward, {pid, num, limit_in, limit_out}).by(place_prlimit),
    // To what home says of CPU time the worker adds the node's part: remote/cpu_time.cc.
    row(98, "getrusage", forward, {num, out(bytes(144))}),
    row(100, "times", forward, {out(bytes(32))}),

    // Scheduling: recorded at home.
    row(140, "getpriority", forward, {num, pid}),
    row(141, "setpriority", forward, {num, pid, num}),
    row(142, "sched_setparam", forward, {pid, sched_param_in}),
    row(143, "sched_getparam", forward, {pid, out(bytes(4))}),
    row(144, "sched_setscheduler", forward, {pid, num, sched_param_in}),
    row(145, "sched_getscheduler", forward, {pid}),
    row(146, "sched_get_priority_max", forward, {num}),
    row(147, "sched_get_priority_min", forward, {num}),
    row(148, "sched_rr_get_interval", forward, {pid, out(bytes(16))}),
    row(203, "sched_setaffinity", forward, {pid, uns, in(at_most(65536, times_unsigned(1)))}),
    row(204, "sched_getaffinity", forward, {pid, uns, out(at_most(65536, times_unsigned(1)), result())}),
    row(251, "ioprio_set", forward, {num, pid, hex}),
    row(252, "ioprio_get", forward, {num, pid}),
    // With E2BIG the kernel tells its own size in the first word.
    row(314, "sched_setattr", forward, {pid, in_maybe_out(at_most(4096, total_inside(48)), even_failed()), hex}),
    row(315, "sched_getattr", forward, {pid, inout(at_most(4096, times_unsigned(2))), uns, hex}),

    // Signals: home decides; dispositions and masks are mirrored.
    row(13, "rt_sigaction", both, {signo, in(bytes(32)), out(bytes(32)), size})
        .because("the deputy's dispositions mirror the guest's, the handler runs on the node"),
    row(14, "rt_sigprocmask", both, {num, sigset(3), out(bytes(8)), size})
        .because("the deputy's mask mirrors the guest's"),
    row(34, "pause", forward).blocking(),
    row(62, "kill", forward, {pid, signo}),
    row(127, "rt_sigpending", forward, {out(at_most(8, times(1))), size}),
    row(128, "rt_sigtimedwait", forward, {sigset(3), out(bytes(128), if_positive), timespec, size}).blocking(),
    row(129, "rt_sigqueueinfo", forward, {pid, signo, siginfo_in}),
    row(130, "rt_sigsuspend", forward, {sigset(1), size}).blocking(),
    row(200, "tkill", forward, {pid, signo}),
    row(234, "tgkill", forward, {pid, pid, signo}),
    row(297, "rt_tgsigqueueinfo", forward, {pid, pid, signo, siginfo_in}),
    row(282, "signalfd", forward, {fd, sigset(2), size}),
    row(289, "signalfd4", forward, {fd, sigset(2), size, open_flags}),

    // Timers: those of real time fire at home and arrive as signals from there. Those of CPU time are made at home too,
    // for their numbers, but never set there: the worker keeps them, and home raises their signals.
    row(36, "getitimer", forward, {num, itimer_out}).by(place_itimer),
    row(37, "alarm", forward, {uns}),
    row(38, "setitimer", forward, {num, itimer_in, itimer_out}).by(place_itimer),
    row(222, "timer_create", forward, {num, in(bytes(64)), out(bytes(4))}),
    row(223, "timer_settime", cached, {num, hex, itimer_in, itimer_out}).because(cpu_timers),
    row(224, "timer_gettime", cached, {num, itimer_out}).because(cpu_timers),
    row(225, "timer_getoverrun", cached, {num}).because(cpu_timers),
    row(226, "timer_delete", forward, {num}),
    row(283, "timerfd_create", forward, {num, open_flags}),
    row(286, "timerfd_settime", forward, {fd, hex, itimer_in, itimer_out}),
    row(287, "timerfd_gettime", forward, {fd, itimer_out}),
};

}  // namespace omx::words
