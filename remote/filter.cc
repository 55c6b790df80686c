#include "remote/filter.h"
#include "loader/island/island.h"
#include "protocol/table.h"
#include <memory>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

namespace omx {
namespace {

struct ReleaseContext { void operator()(void* ctx) const { seccomp_release(ctx); } };
using Context = std::unique_ptr<void, ReleaseContext>;

Status checked(int code, std::string_view doing) {
    if (code < 0) return fail_errno(fmt::format("seccomp filter: {}", doing), -code);
    return {};
}

Status add_when(void* ctx, const Row& row, uint32_t action, const When& when) {
    scmp_arg_cmp conditions[]{{when.argument, SCMP_CMP_MASKED_EQ, when.mask, when.value},
                              {when.second, SCMP_CMP_MASKED_EQ, when.second_mask, when.second_value}};
    unsigned count = when.second_mask ? 2 : 1;
    return checked(seccomp_rule_add_array(ctx, action, row.number, count, conditions), row.name);
}

Status add_row(void* ctx, const Row& row) {
    int nr = row.number;
    if (traced_by_ptrace(row)) return checked(seccomp_rule_add(ctx, SCMP_ACT_TRACE(0), nr, 0), row.name);
    if (untrapped(row)) return checked(seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0), row.name);
    for (auto& when : row.local_when) OMX_TRY(add_when(ctx, row, SCMP_ACT_ALLOW, when));
    for (auto& when : row.stopped_when) OMX_TRY(add_when(ctx, row, SCMP_ACT_TRACE(0), when));
    return {};
}

Result<FilterProgram> exported(void* ctx) {
    UniqueFd file(memfd_create("filter", MFD_CLOEXEC));
    if (!file) return fail_errno("memfd_create");
    OMX_TRY(checked(seccomp_export_bpf(ctx, file.get()), "export"));
    struct stat info{};
    if (fstat(file.get(), &info) < 0) return fail_errno("fstat");
    FilterProgram program(static_cast<size_t>(info.st_size) / sizeof(sock_filter));
    if (pread(file.get(), program.data(), static_cast<size_t>(info.st_size), 0) != info.st_size)
        return fail_errno("read of the filter");
    if (program.empty() || program.size() > BPF_MAXINSNS)
        return fail(fmt::format("the filter has {} instructions", program.size()));
    return program;
}

// The island sends and receives on the guest's lane, and nobody else in the guest does: let through by where the call
// comes from. libseccomp can't say that; and looked at before the number it would cost every call the kernel's memory
// of those that are always allowed. So it is asked last: wherever the program would notify, it jumps to this instead.
void let_island_through(FilterProgram& program) {
    constexpr uint32_t kNotify = SECCOMP_RET_USER_NOTIF;
    constexpr uint32_t kIpLow = offsetof(seccomp_data, instruction_pointer), kIpHigh = kIpLow + 4;
    const sock_filter tail[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendto, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendmsg, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_recvfrom, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kIpHigh),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kIpLow),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, OMX_ISLAND_CODE, 0, 1),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, OMX_ISLAND_CODE + OMX_ISLAND_CODE_BYTES, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, kNotify),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    for (size_t i = 0; i < program.size(); i++)
        if (program[i].code == (BPF_RET | BPF_K) && program[i].k == kNotify)
            program[i] = BPF_STMT(BPF_JMP | BPF_JA, static_cast<uint32_t>(program.size() - i - 1));
    program.insert(program.end(), std::begin(tail), std::end(tail));
}

}  // namespace

Result<FilterProgram> build_filter() {
    Context ctx(seccomp_init(SCMP_ACT_NOTIFY));
    if (!ctx) return fail("libseccomp can't make a filter (2.5 or newer is needed)");
    // A guest that calls by the i386 or x32 entry can't be served by this table.
    OMX_TRY(
        checked(seccomp_attr_set(ctx.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "foreign architectures"));
    OMX_TRY(checked(seccomp_attr_set(ctx.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "binary tree"));
    for (const Row& row : rows()) OMX_TRY(add_row(ctx.get(), row));
    auto program = exported(ctx.get());
    if (program) let_island_through(*program);
    return program;
}

}  // namespace omx
