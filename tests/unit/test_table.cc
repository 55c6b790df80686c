#include "protocol/table.h"
#include <doctest/doctest.h>
#include <fstream>
#include <linux/sched.h>
#include <set>
#include <string>
#include <sys/mman.h>
#include <sys/syscall.h>

using namespace omx;

TEST_CASE("every call of the installed headers has a row of the same name") {
    std::ifstream header("/usr/include/x86_64-linux-gnu/asm/unistd_64.h");
    REQUIRE(header.good());
    std::string define, name;
    unsigned number = 0, seen = 0;
    std::string line;
    while (std::getline(header, line)) {
        char text[64];
        if (std::sscanf(line.c_str(), "#define __NR_%63s %u", text, &number) != 2) continue;
        ++seen;
        const Row* row = find_row(number);
        REQUIRE_MESSAGE(row, text);
        CHECK(row->name == text);
    }
    CHECK(seen > 300);
}

TEST_CASE("rows ascend, and each is found by its number") {
    int last = -1;
    std::set<std::string_view> names;
    for (const Row& row : rows()) {
        CHECK(row.number > last);
        last = row.number;
        CHECK(find_row(row.number) == &row);
        CHECK_MESSAGE(names.insert(row.name).second, row.name);
    }
    CHECK(find_row(400) == nullptr);
    CHECK(find_row(0xffffffff) == nullptr);
    CHECK(place_of(400, {}).place == Place::home);
}

TEST_CASE("subtables ascend, and say why where they do not forward") {
    for (const Row& row : rows()) {
        if (!row.subtable) continue;
        const Variant* last = nullptr;
        for (const Variant& v : row.subtable->variants) {
            if (last) CHECK_MESSAGE(last->selector < v.selector, v.name);
            last = &v;
            bool needs_reason = v.place != Place::forward && v.place != Place::local;
            CHECK_MESSAGE(needs_reason == !v.why.empty(), v.name);
        }
        CHECK((row.subtable->other.place == Place::forward || !row.subtable->other.why.empty()));
    }
}

// What the marshaller takes for granted of every description.
static void check_arguments(std::string_view name, const Args& args) {
    CAPTURE(name);
    for (size_t i = 0; i < args.size(); ++i) {
        const Arg& a = args[i];
        if (!a.has_memory()) continue;
        CHECK(a.show != Show::none);
        if (a.shape == Shape::nested) CHECK((a.nested && a.nested->bytes >= a.nested->pointer_at + 8u));
        // Sizes behind a pointer, and counts that may be lowered, are known only if they come later in the row.
        if (a.size.rule == SizeRule::word_behind) CHECK(a.size.argument > i);
        if (a.back.rule == BackRule::word_behind) CHECK(a.back.argument > i);
        if (a.size.rule == SizeRule::inside) CHECK(a.size.base >= a.size.offset + a.size.width);
        if (a.size.rule == SizeRule::total_inside) CHECK(a.size.base >= a.size.offset + 4u);
        if (a.back.rule == BackRule::changed) CHECK(a.direction == Direction::inout);
    }
}

TEST_CASE("descriptions are such as the marshaller can follow") {
    for (const Row& row : rows()) {
        check_arguments(row.name, row.args);
        if (row.lowers >= 0) CHECK(row.args[static_cast<size_t>(row.lowers)].show != Show::none);
        if (!row.subtable) continue;
        for (const Variant& v : row.subtable->variants) check_arguments(v.name, v.args);
        check_arguments(row.name, row.subtable->other.args);
        check_arguments(row.name, row.subtable->nonsense.args);
    }
}

TEST_CASE("few calls are allowed untrapped") {
    int allowed = 0;
    for (const Row& row : rows()) {
        if (row.place == Place::local || !row.local_when.empty()) ++allowed;
        // A guest must not reach these without somebody looking.
        for (auto forbidden : {SYS_keyctl, SYS_bpf, SYS_io_uring_setup, SYS_perf_event_open, SYS_vmsplice})
            if (row.number == forbidden) CHECK((row.place != Place::local && row.local_when.empty()));
    }
    CHECK(allowed < 45);
}

static Place place(long nr, CallArgs args) { return place_of(static_cast<uint32_t>(nr), args).place; }

TEST_CASE("mappings are placed by their flags") {
    auto map = [](uint64_t prot, uint64_t flags) { return place(SYS_mmap, {0, 4096, prot, flags, 3, 0}); };
    CHECK(map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS) == Place::local);
    CHECK(map(PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS) == Place::local);
    CHECK(map(PROT_READ | PROT_EXEC, MAP_PRIVATE) == Place::life);
    CHECK(map(PROT_READ | PROT_WRITE, MAP_PRIVATE) == Place::life);
    CHECK(map(PROT_READ, MAP_SHARED) == Place::life);
    CHECK(map(PROT_READ | PROT_WRITE, MAP_SHARED) == Place::life);       // home says what can't leave
    CHECK(map(PROT_WRITE, MAP_SHARED_VALIDATE) == Place::life);
    CHECK(map(PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB) == Place::life);
    CHECK(map(PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED) == Place::life);
    CHECK(place(SYS_munlock, {}) == Place::local);
}

TEST_CASE("new processes are placed by their flags") {
    auto clone = [](uint64_t flags) { return place(SYS_clone, {flags}); };
    constexpr uint64_t thread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    CHECK(clone(17 /* SIGCHLD */) == Place::life);
    CHECK(clone(17 | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID) == Place::life);
    CHECK(clone(thread | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID) == Place::life);
    CHECK(clone(17 | CLONE_VM | CLONE_VFORK) == Place::life);
    CHECK(clone(17 | CLONE_VM | CLONE_VFORK | CLONE_CLEAR_SIGHAND) == Place::life);
    CHECK(clone(17 | CLONE_VM) == Place::life);
    CHECK(clone(17 | CLONE_FILES | CLONE_FS | CLONE_PARENT | CLONE_IO) == Place::life);
    CHECK(clone(17 | CLONE_SIGHAND) == Place::life);                     // home says EINVAL
    CHECK(clone(17 | CLONE_VM | CLONE_SIGHAND) == Place::home);
    CHECK(clone(17 | CLONE_PIDFD) == Place::life);
    CHECK(clone(thread | CLONE_PIDFD) == Place::home);
    CHECK(clone(17 | CLONE_NEWPID) == Place::home);
    CHECK(clone(17 | CLONE_NEWUSER) == Place::home);
    CHECK(clone(thread & ~uint64_t{CLONE_FILES}) == Place::home);
    CHECK(place(SYS_unshare, {CLONE_FILES}) == Place::forward);
    CHECK(place(SYS_unshare, {CLONE_NEWNS}) == Place::home);
    CHECK(traced_by_ptrace(*find_row(SYS_clone3)));
    CHECK(!traced_by_ptrace(*find_row(SYS_mmap)));
}

TEST_CASE("commands are placed one by one") {
    CHECK(place(SYS_ioctl, {0, 0x5401}) == Place::forward);
    CHECK(place(SYS_ioctl, {0, 0xffffffff00005401}) == Place::forward);      // the kernel looks at 32 bits
    CHECK(place(SYS_ioctl, {0, 0xdeadbeef}) == Place::home);
    CHECK(!place_of(SYS_ioctl, {0, 0xdeadbeef}).why.empty());
    CHECK(place(SYS_fcntl, {0, 7}) == Place::forward);
    CHECK(place(SYS_fcntl, {0, 999}) == Place::home);
    CHECK(place(SYS_fcntl, {0, 0xffffffff}) == Place::forward);              // EINVAL is home's to say
    CHECK(place(SYS_prctl, {15}) == Place::both);
    CHECK(place(SYS_prctl, {16}) == Place::forward);
    CHECK(place(SYS_prctl, {4, 1}) == Place::forward);
    CHECK(place(SYS_prctl, {4, 0}) == Place::forward);
    CHECK(place(SYS_prctl, {22, 2, 1}) == Place::home);
    CHECK(place(SYS_prctl, {40, 1}) == Place::local);
    CHECK(place(SYS_arch_prctl, {0x1002 /* ARCH_SET_FS */}) == Place::local);
    CHECK(place(SYS_arch_prctl, {0x1023 /* ARCH_REQ_XCOMP_PERM */, 18}) == Place::both);
    CHECK(place(SYS_arch_prctl, {0x5001 /* ARCH_SHSTK_ENABLE */, 1}) == Place::home);
    CHECK(place(SYS_arch_prctl, {0x3001}) == Place::forward);                // EINVAL
    CHECK(place(SYS_seccomp, {1, 0, 0}) == Place::forward);
    CHECK(place(SYS_seccomp, {1, 0, 4096}) == Place::home);
    CHECK(place(SYS_setrlimit, {9 /* RLIMIT_AS */}) == Place::both);
    CHECK(place(SYS_setrlimit, {7 /* RLIMIT_NOFILE */}) == Place::forward);
    CHECK(place(SYS_prlimit64, {0, 3, 0}) == Place::forward);
    CHECK(place(SYS_setitimer, {0}) == Place::forward);
    CHECK(place(SYS_setitimer, {2}) == Place::cached);
    CHECK(place(SYS_getitimer, {1}) == Place::cached);
    CHECK(place(SYS_sendto, {3, 0, 0, 0x4000000}) == Place::home);
    CHECK(place(SYS_setsockopt, {3, 1, 2}) == Place::forward);
    CHECK(place(SYS_get_robust_list, {0}) == Place::local);
    CHECK(place(SYS_get_robust_list, {1}) == Place::memory_of);
    CHECK(place(SYS_rt_sigaction, {}) == Place::both);
}

TEST_CASE("what may wait is known") {
    auto waits = [](long nr, CallArgs args = {}) { return may_block(static_cast<uint32_t>(nr), args); };
    for (long nr : {SYS_read, SYS_poll, SYS_wait4, SYS_accept, SYS_flock, SYS_rt_sigsuspend, SYS_epoll_wait})
        CHECK(waits(nr));
    for (long nr : {SYS_getppid, SYS_fstat, SYS_lseek, SYS_kill, SYS_getdents64}) CHECK(!waits(nr));
    CHECK(waits(SYS_fcntl, {0, 7}));
    CHECK(!waits(SYS_fcntl, {0, 6}));
    CHECK(!waits(SYS_ioctl, {0, 0x5401}));
    CHECK(waits(SYS_ioctl, {0, 0x5403}));
}
