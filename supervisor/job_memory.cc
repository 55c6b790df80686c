// Calls of a guest on the memory of another one: here is decided whether it may, by asking home's kernel for next to
// nothing of the deputy's memory. The call itself is made where the memory is (remote/memory_calls.cc).
#include <sys/syscall.h>
#include <sys/uio.h>

#include "supervisor/job.h"

namespace omx {

namespace {

// What a deputy reads of another one's memory: a byte of the blob, which all of them have.
struct OneByte {
    iovec to, from;
    uint64_t byte[2];
};

}  // namespace

void Job::start_memory_check(Thread& t, const CallHead& head, const CallOrigin& from) {
    ActiveCall active{.from = from, .since = std::chrono::steady_clock::now()};
    active.call = {.tid = t.tid, .nr = head.nr, .guest = head.args};
    if (setup_.trace_file) active.text = fmt::format("{}({})", call_name(head.nr), static_cast<pid_t>(head.args[0]));
    uint64_t at = own_place(t), result_at = at + offsetof(OneByte, byte);
    OneByte ask{};
    ask.to = {reinterpret_cast<void*>(result_at), 1};
    ask.from = {reinterpret_cast<void*>(OMX_BLOB_BASE), 1};
    own_data(t, &ask, sizeof ask);
    auto asked = head.nr == SYS_get_robust_list
                     ? op(head.nr, {head.args[0], result_at, result_at + sizeof(uint64_t)})
                     : op(SYS_process_vm_readv, {head.args[0], at + offsetof(OneByte, to), 1,
                                                 at + offsetof(OneByte, from), 1, 0});
    t.active = std::move(active);
    post(t, {asked}, false);
    if (wait_inline(t, 300)) collect(t);
}

// The memory of who is no deputy hasn't got that byte; he may be asked for others.
void Job::finish_memory_check(Thread& t, ReplyHead head) {
    if (head.result > 0 || head.result == -EFAULT) head.result = 0;
    reply(t, head);
    run_waiting(t);
}

}  // namespace omx
