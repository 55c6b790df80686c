// Rows: memory, clocks that are read, futexes, sleeping. What acts on the guest's own memory or registers is local: the
// deputy has neither. Few calls are allowed untrapped, because that list is what a guest can attack the node with.
#pragma once
#include "protocol/judges.h"
#include "protocol/row_words.h"
#include "protocol/subtables.h"

namespace omx::words {

// MAP_ANONYMOUS, neither MAP_LOCKED nor MAP_HUGETLB.
inline constexpr When anonymous_small_pages[] = {{3, 0x20 | 0x2000 | 0x40000, 0x20}};
// 0x1001 to 0x1004: set and get fs and gs. And what glibc asks at every start, and no kernel has ever answered.
inline constexpr When segments[] = {{0, 0xfffffff8, 0x1000}, {0, 0xffffffff, 0x3001}};
inline constexpr When own_list[] = {{0, 0xffffffff, 0}};
// Those of the guests' time namespace: monotonic, its coarse one, boottime and its alarm clock.
inline constexpr When steady_clocks[] = {
    {0, 0xffffffff, 1}, {0, 0xffffffff, 6}, {0, 0xffffffff, 7}, {0, 0xffffffff, 9}};
// Waits until a moment of a clock. Of one that the guests' time namespace keeps: the node's kernel knows how. Of CPU
// time (2, or of some process): its moments are others there. Other clocks are home's, and so are they.
inline constexpr When own_sleeps[] = {{0, 0xffffffff, 1, 1, 1, 1}, {0, 0xffffffff, 7, 1, 1, 1}};
inline constexpr When cpu_sleeps[] = {{0, 0xffffffff, 2, 1, 1, 1}, {0, 0x80000000, 0x80000000, 1, 1, 1}};
// FUTEX_CLOCK_REALTIME, and FUTEX_LOCK_PI (6), which knows no other clock.
inline constexpr When realtime_futexes[] = {{1, 0x100, 0x100}, {1, 0x107, 6}};
inline constexpr When other_futexes[] = {{1, 0x104, 0}, {1, 0x106, 4}, {1, 0x107, 7}};
inline constexpr When realtime_wait[] = {{5, 0xffffffff, 0}}, monotonic_wait[] = {{5, 0xffffffff, 1}};
inline constexpr When realtime_waitv[] = {{4, 0xffffffff, 0}}, monotonic_waitv[] = {{4, 0xffffffff, 1}};
inline constexpr When named_clocks[] = {{0, 0x80000000, 0}};

inline constexpr std::string_view noted_sleep = "the node's kernel runs it, the worker notes when it began";

inline constexpr Row memory_rows[] = {
    row(9, "mmap", life, {address, size, protection, map_flags, fd, off})
        .returning(Returns::address).allowed_when(anonymous_small_pages).by(place_mmap)
        .because("home opens the way to the file's content, the node maps it"),
    row(10, "mprotect", local, {address, size, protection}),
    row(11, "munmap", local, {address, size}),
    row(12, "brk", local, {address}).returning(Returns::address),
    row(25, "mremap", local, {address, size, size, hex, address}).returning(Returns::address),
    row(26, "msync", both, {address, size, hex})
        .because("home has the file itself; where a guest maps none that others could see, its node does it alone"),
    row(27, "mincore", local, {address, size, address}),
    row(28, "madvise", local, {address, size, num}),
    row(149, "mlock", life, {address, size}).because(locking),
    row(150, "munlock", local, {address, size}),
    row(151, "mlockall", life, {hex}).because(locking),
    row(152, "munlockall", local),
    row(325, "mlock2", life, {address, size, hex}).because(locking),
    row(216, "remap_file_pages", home, {address, size, protection, size, hex})
        .because("it rearranges a shared mapping of a file"),
    row(323, "userfaultfd", home, {hex}).because("faults of the guest would have to reach a descriptor at home"),
    row(324, "membarrier", local, {num, hex, num}),
    row(329, "pkey_mprotect", local, {address, size, protection, num}),
    row(330, "pkey_alloc", local, {hex, hex}),
    row(331, "pkey_free", local, {num}),
    row(447, "memfd_secret", home, {hex}).because("only a shared mapping can use it, and its memory is home's"),
    row(453, "map_shadow_stack", home, {address, size, hex}).returning(Returns::address)
        .because("shadow stacks are asked for at home"),
    row(462, "mseal", local, {address, size, hex}),

    // Memory of a process that may be anywhere.
    row(101, "ptrace", home, {num, pid, address, address})
        .because("a debugger and what it debugs must be at home together"),
    row(279, "move_pages", memory_of, {pid, size, address, address, address, hex})
        .because("the pages of a guest are not where its deputy is"),
    row(256, "migrate_pages", memory_of, {pid, size, address, address})
        .because("the pages of a guest are not where its deputy is"),
    row(310, "process_vm_readv", memory_of, {pid, address, size, address, size, hex})
        .because("the memory of a guest is not where its deputy is"),
    row(311, "process_vm_writev", memory_of, {pid, address, size, address, size, hex})
        .because("the memory of a guest is not where its deputy is"),
    row(440, "process_madvise", memory_of, {fd, address, size, num, hex})
        .because("the memory of a guest is not where its deputy is"),
    // Of a process that is about to die: its guest's memory goes by itself.
    row(448, "process_mrelease", forward, {fd, hex}),

    // NUMA: the numbers of memory nodes are home's; a policy is recorded there.
    row(237, "mbind", home, {address, size, num, address, size, hex})
        .because("it names memory nodes of home's for memory that is elsewhere"),
    row(238, "set_mempolicy", forward, {num, in(at_most(4096, bits(2, -1))), size}),
    row(239, "get_mempolicy", forward, {out(bytes(4)), out(at_most(4096, bits(2, -1))), size, address, hex})
        .by(place_get_mempolicy),
    row(450, "set_mempolicy_home_node", home, {address, size, size, hex})
        .because("it names memory nodes of home's for memory that is elsewhere"),

    // Waiting in memory and for time.
    row(24, "sched_yield", local),
    // Relative ones are noted: what is left of them at a move is known to nobody else.
    row(35, "nanosleep", local, {address, address}).noted_there().blocking().because(noted_sleep),
    row(96, "gettimeofday", cached, {out(bytes(16)), out(bytes(8))}).because(told_clock),
    row(201, "time", cached, {out(bytes(8))}).because(told_clock),
    row(202, "futex", local, {address, num, uns, address, address, uns}).blocking()
        .allowed_when(other_futexes).stopped_if(realtime_futexes).because(own_moment),
    row(219, "restart_syscall", local).blocking(),
    row(228, "clock_gettime", cached, {num, out(bytes(16))})
        .allowed_when(steady_clocks).by(place_clock_gettime).because(told_clock),
    row(229, "clock_getres", forward, {num, out(bytes(16))}).allowed_when(named_clocks).by(place_clock_getres),
    row(230, "clock_nanosleep", forward, {num, hex, timespec, in_maybe_out(bytes(16), even_failed())}).blocking()
        .noted_there().allowed_when(own_sleeps).stopped_if(cpu_sleeps).by(place_clock_nanosleep).because(homes_moment),
    row(318, "getrandom", local, {address, size, hex}),
    row(449, "futex_waitv", local, {address, uns, hex, address, num}).blocking()
        .allowed_when(monotonic_waitv).stopped_if(realtime_waitv).because(own_moment),
    row(454, "futex_wake", local, {address, hex, num, hex}),
    row(455, "futex_wait", local, {address, hex, hex, hex, address, num}).blocking()
        .allowed_when(monotonic_wait).stopped_if(realtime_wait).because(own_moment),
    row(456, "futex_requeue", local, {address, hex, num, num}),

    // The thread's own registers and words in memory.
    row(15, "rt_sigreturn", local),
    row(131, "sigaltstack", local, {address, address}),
    row(158, "arch_prctl", forward, {command, hex}).allowed_when(segments).by(arch_options),
    row(186, "gettid", local).because("threads have the same numbers on the node"),
    row(39, "getpid", local).because("processes have the same numbers on the node"),
    row(218, "set_tid_address", local, {address}),
    row(273, "set_robust_list", local, {address, size}),
    row(274, "get_robust_list", memory_of, {pid, address, address})
        .allowed_when(own_list).by(place_get_robust_list)
        .because("the list of another thread is where that thread runs"),
    row(309, "getcpu", local, {address, address, address}),
    row(334, "rseq", local, {address, uns, hex, hex}),
    row(154, "modify_ldt", home, {num, address, size}).because("segments of a table are for 16- and 32-bit code"),
    row(172, "iopl", home, {num}).because("the ports are home's"),
    row(173, "ioperm", home, {size, size, num}).because("the ports are home's"),
    row(335, "uretprobe", home).because("only the kernel's own probes call it"),
    row(336, "uprobe", home).because("only the kernel's own probes call it"),
};

}  // namespace omx::words
