// A program that was just exec'ed, looked at from outside: whether being traced would change what it does.
#pragma once
#include <map>
#include <string>
#include <tuple>

#include "protocol/result.h"
#include "protocol/types.h"
#include "protocol/unique_fd.h"

namespace omx {

// Says of executables whether they hold a leak checker (LeakSanitizer, AddressSanitizer), which refuses to work while
// its process is traced. Remembers what it has read: a job executes the same few programs again and again.
class LeakCheckers {
public:
    bool in(int executable);

private:
    using Key = std::tuple<uint64_t, uint64_t, int64_t, int64_t, int64_t>;  // device, inode, size, ctime
    static constexpr size_t kRemembered = 4096;
    std::map<Key, bool> known_;
};

// True if an ELF file's dynamic names are those of a program that holds one.
bool holds_leak_checker(int executable);

// The path of a process's executable; its name where that may not be read.
std::string program_of(HomePid);

// How a new program gets what being traced would take from it.
enum class Hold {
    keep,          // nothing is taken
    let_go,        // it only has to be let go of
    exec_again,    // it has lost something by this exec already: it executes once more, with nobody tracing
};

struct Judgement {
    Hold hold = Hold::keep;
    std::string reason;      // empty: it may leave
};

// `privileged`: the supervisor may trace anybody, so that the kernel takes nothing from who it traces.
Judgement judge_new_program(HomePid, bool privileged, LeakCheckers&);

// Whether this process has CAP_SYS_PTRACE.
bool may_trace_anybody();

}  // namespace omx
