// Kernel interfaces newer than the headers of Debian 12 (6.1), in one place, each with the kernel that brought it.
// Constants are the kernel's ABI; where a kernel is older the call that uses one fails and we fall back or say so.
#pragma once
#include <cstdint>
#include <linux/ioctl.h>
#include <linux/seccomp.h>

namespace omx::abi {

// 5.19. A notified thread that waits for our answer is woken by fatal signals only.
constexpr unsigned kSeccompWaitKillableRecv = 1u << 5;

// 6.6. Our answer wakes the guest on this very CPU, and the guest's call wakes us on its own.
constexpr unsigned long kNotifSetFlags = _IOW('!', 4, uint64_t);
constexpr uint64_t kNotifSyncWakeUp = 1;

// 5.9. What CAP_CHECKPOINT_RESTORE is called; it lets pid 1 of a pid namespace write ns_last_pid.
constexpr int kCapCheckpointRestore = 40;

// 6.11. ioctl on /proc/PID/maps: the mapping that covers an address, without reading the whole file as text.
struct ProcmapQuery {
    uint64_t size;
    uint64_t query_flags;
    uint64_t query_addr;
    uint64_t vma_start, vma_end;
    uint64_t vma_flags;
    uint64_t vma_page_size;
    uint64_t vma_offset;
    uint64_t inode;
    uint32_t dev_major, dev_minor;
    uint32_t vma_name_size, build_id_size;
    uint64_t vma_name_addr, build_id_addr;
};
static_assert(sizeof(ProcmapQuery) == 104);
constexpr unsigned long kProcmapQuery = _IOWR('f', 17, ProcmapQuery);
constexpr uint64_t kProcmapVmaWritable = 2;
constexpr uint64_t kProcmapVmaShared = 8;

// clone(2) flags that older headers lack.
constexpr uint64_t kCloneClearSighand = 1ull << 32;      // 5.5, clone3 only
constexpr uint64_t kCloneIntoCgroup = 1ull << 33;        // 5.7, clone3 only

// struct clone_args (5.3), as far as we understand it: more bytes that are not zero mean flags we don't know.
struct CloneArgs {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    uint64_t set_tid, set_tid_size, cgroup;
};

// errno values that never reach a program: how a system call asks the kernel to be restarted (include/linux/errno.h).
// ptrace, 5.13.
constexpr int kGetRseqConfiguration = 0x420f;
struct RseqConfiguration { uint64_t pointer; uint32_t size, signature, flags, pad; };

// 5.14 and 6.7.
constexpr unsigned kFutexLockPi2 = 13;
constexpr unsigned long long kFutexWait = 455;

constexpr int kErestartSys = 512, kErestartNoIntr = 513, kErestartNoHand = 514, kErestartBlock = 516;

}  // namespace omx::abi
