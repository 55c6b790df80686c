#include "loader/task_status.h"
#include <csignal>
#include <doctest/doctest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace omx;

TEST_CASE("the status of a task has what the kernel says of it") {
    sigset_t one;
    sigemptyset(&one), sigaddset(&one, SIGUSR1);
    char before[16];
    prctl(PR_GET_NAME, before);
    prctl(PR_SET_NAME, "State:\tZ\nUid:\t7");                     // a name is no field
    sigprocmask(SIG_BLOCK, &one, nullptr);
    raise(SIGUSR1);
    TaskStatus own{HomePid(getpid())};
    signal(SIGUSR1, SIG_IGN);
    sigprocmask(SIG_UNBLOCK, &one, nullptr);
    signal(SIGUSR1, SIG_DFL);
    prctl(PR_SET_NAME, before);
    CHECK(own.exists());
    CHECK(own.state() == 'R');
    CHECK(own.number("Uid") == getuid());
    CHECK(own.number("PPid") == static_cast<uint64_t>(getppid()));
    uint64_t blocked_and_pending = own.mask("SigBlk") & own.pending() & own.mask("SigPnd");
    CHECK(blocked_and_pending == (uint64_t{1} << (SIGUSR1 - 1)));
    CHECK(own.number("Sig") == std::nullopt);                       // the beginning of a name is none
}

TEST_CASE("the status of a task that has ended says so, and then nothing") {
    pid_t child = fork();
    if (child == 0) _exit(0);
    siginfo_t info;
    REQUIRE(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) == 0);
    CHECK(TaskStatus(HomePid(child)).state() == 'Z');
    waitpid(child, nullptr, 0);
    TaskStatus gone{HomePid(child)};
    CHECK(!gone.exists());
    CHECK(gone.state() == 0);
    CHECK(gone.pending() == 0);
}
