// What the supervisor may know of a deputy's descriptors, and for how long.
#include "supervisor/descriptors.h"
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/syscall.h>

using namespace omx;

namespace {

constexpr HomePid kOne(100), kOther(200);

UniqueFd some_copy() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }
bool open_now(int fd) { return fcntl(fd, F_GETFD) >= 0; }
SlotOp call(long nr, uint64_t first = 0) { return {static_cast<uint32_t>(nr), 0, {first}, 0}; }

}  // namespace

TEST_CASE("descriptors: copies are closed before a deputy of their process runs anything") {
    KnownDescriptors known;
    known.note(kOne, 3, DescriptorKind::pipe);
    known.keep(kOne, 3, some_copy());
    known.keep(kOther, 3, some_copy());
    int ours = known.copy(kOne, 3), others = known.copy(kOther, 3);
    REQUIRE(ours >= 0);
    CHECK(known.copy(kOne, 4) == -1);
    CHECK_FALSE(known.before(kOne, std::array{call(SYS_read, 3)}));
    CHECK_FALSE(open_now(ours));
    CHECK(open_now(others));
    CHECK(known.copy(kOne, 3) == -1);
    CHECK(known.kind(kOne, 3) == DescriptorKind::pipe);      // a read changes no number
}

TEST_CASE("descriptors: a kind is forgotten with whatever may change its number") {
    KnownDescriptors known;
    auto learn = [&] {
        known.note(kOne, 3, DescriptorKind::other);
        known.note(kOne, 4, DescriptorKind::regular);
        known.note(kOther, 3, DescriptorKind::regular);
    };
    for (int nr : {SYS_dup2, SYS_dup3, SYS_fcntl, SYS_openat, SYS_socket, SYS_accept4, SYS_pipe2, SYS_recvmsg,
                    SYS_close_range, SYS_execve, SYS_clone, SYS_ioctl, SYS_exit_group, 9999}) {
        learn();
        CHECK(known.before(kOne, std::array{call(SYS_mmap), call(nr), call(SYS_munmap)}));
        CHECK_FALSE(known.kind(kOne, 3));
        CHECK_FALSE(known.kind(kOne, 4));
        CHECK(known.kind(kOther, 3) == DescriptorKind::regular);
    }
    learn();
    CHECK(known.before(kOne, std::array{call(SYS_close, 3)}));
    CHECK_FALSE(known.kind(kOne, 3));
    CHECK(known.kind(kOne, 4) == DescriptorKind::regular);
    known.forget(kOne);
    CHECK_FALSE(known.kind(kOne, 4));
}

TEST_CASE("descriptors: few copies of a process and of a job, the latest used ones") {
    KnownDescriptors known;
    for (int number = 0; number < 4; ++number) known.keep(kOne, number, some_copy());
    CHECK(known.copy(kOne, 0) >= 0);
    known.keep(kOne, 4, some_copy());
    CHECK(known.copies() == KnownDescriptors::kCopiesOfProcess);
    CHECK(known.copy(kOne, 1) == -1);
    CHECK(known.copy(kOne, 0) >= 0);
    for (int pid = 1000; pid < 1040; ++pid) known.keep(HomePid(pid), 0, some_copy());
    CHECK(known.copies() == KnownDescriptors::kCopies);
    CHECK(known.copy(HomePid(1039), 0) >= 0);
    CHECK(known.copy(HomePid(1000), 0) == -1);
    known.drop_copies(HomePid(1039));
    CHECK(known.copies() == KnownDescriptors::kCopies - 1);
}
