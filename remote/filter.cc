#include "remote/filter.h"
#include "protocol/table.h"
#include <memory>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace omx {
namespace {

struct ReleaseContext { void operator()(void* ctx) const { seccomp_release(ctx); } };
using Context = std::unique_ptr<void, ReleaseContext>;

Status checked(int code, std::string_view doing) {
    if (code < 0) return fail_errno(fmt::format("seccomp filter: {}", doing), -code);
    return {};
}

Status add_row(void* ctx, const Row& row) {
    int nr = row.number;
    auto doing = [&] { return fmt::format("rule for {}", row.name); };
    if (traced_by_ptrace(row)) return checked(seccomp_rule_add(ctx, SCMP_ACT_TRACE(0), nr, 0), doing());
    if (row.place == Place::local) return checked(seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0), doing());
    if (!row.local_when) return {};
    scmp_arg_cmp condition{row.local_when->argument, SCMP_CMP_MASKED_EQ, row.local_when->mask, row.local_when->value};
    return checked(seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, 1, &condition), doing());
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

}  // namespace

Result<FilterProgram> build_filter() {
    Context ctx(seccomp_init(SCMP_ACT_NOTIFY));
    if (!ctx) return fail("libseccomp can't make a filter (2.5 or newer is needed)");
    // A guest that calls by the i386 or x32 entry can't be served by this table.
    OMX_TRY(
        checked(seccomp_attr_set(ctx.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "foreign architectures"));
    OMX_TRY(checked(seccomp_attr_set(ctx.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "binary tree"));
    for (const Row& row : rows()) OMX_TRY(add_row(ctx.get(), row));
    return exported(ctx.get());
}

}  // namespace omx
