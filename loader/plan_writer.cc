#include "loader/plan_writer.h"
#include "loader/blobs.h"
#include "loader/image_check.h"
#include <sys/mman.h>
#include <unistd.h>

namespace omx {
namespace {

constexpr uint64_t up_to_page(uint64_t n) { return (n + kPage - 1) / kPage * kPage; }

// It is mapped executable but never exec'ed. Kernels since 6.3 want that said (and log who doesn't); older ones know no
// such flag.
UniqueFd new_memfd() {
    constexpr unsigned no_exec_seal = 8;        // MFD_NOEXEC_SEAL
    int fd = ::memfd_create("omxsup-plan", MFD_CLOEXEC | no_exec_seal);
    return UniqueFd(fd >= 0 || errno != EINVAL ? fd : ::memfd_create("omxsup-plan", MFD_CLOEXEC));
}

Status write_all(int fd, View bytes) {
    while (!bytes.empty()) {
        ssize_t n = ::write(fd, bytes.data(), bytes.size());
        if (n < 0) return fail_errno("plan of the restore");
        bytes = bytes.subspan(static_cast<size_t>(n));
    }
    return {};
}

}  // namespace

uint64_t plan_overhead_bytes(size_t operations) {
    return kPage + up_to_page(runner_code().size()) + up_to_page(operations * sizeof(omx_operation)) +
           kRunnerStackBytes + 2 * kPage;
}

PlanWriter::PlanWriter(uint64_t address) {
    View code = runner_code();
    header_.magic = OMX_PLAN_MAGIC;
    header_.address = address;
    header_.code_at = kPage;
    header_.code_bytes = up_to_page(code.size());
    header_.entry = address + kPage;
    file_.resize(kPage + header_.code_bytes);
    std::memcpy(file_.data() + kPage, code.data(), code.size());
    // Number 0 is the stub's own work, so that its failures have a text as well.
    operation({}, "mapping the plan of the restore");
}

uint64_t PlanWriter::align(uint64_t to) {
    file_.resize((file_.size() + to - 1) / to * to);
    return header_.address + file_.size();
}

uint64_t PlanWriter::data(View bytes) {
    uint64_t at = align(64);
    file_.insert(file_.end(), bytes.begin(), bytes.end());
    return at;
}

void PlanWriter::operation(omx_operation o, std::string text) {
    operations_.push_back(o);
    texts_.push_back(std::move(text));
}

void PlanWriter::call(std::string text, long number, std::array<uint64_t, 6> args, uint32_t flags) {
    omx_operation o{.kind = OMX_CALL, .flags = flags, .number = static_cast<uint64_t>(number), .args = {}};
    std::copy(args.begin(), args.end(), o.args);
    operation(o, std::move(text));
}

void PlanWriter::copy(std::string text, uint64_t to, View bytes) {
    operation({.kind = OMX_COPY, .flags = 0, .number = 0, .args = {to, data(bytes), bytes.size()}}, std::move(text));
}

Result<Plan> PlanWriter::finish(uint64_t most_bytes) {
    header_.operation_count = operations_.size();
    header_.operations = data(std::as_bytes(std::span(operations_)));
    align(kPage);
    header_.bytes = file_.size() + kRunnerStackBytes;
    header_.stack_top = header_.address + header_.bytes - 8;        // as after a call instruction
    header_.parking = header_.address + header_.bytes;
    std::memcpy(file_.data(), &header_, sizeof header_);
    if (header_.bytes > most_bytes) return fail("plan of the restore: larger than was reckoned");

    Plan plan;
    plan.memfd = new_memfd();
    if (!plan.memfd) return fail_errno("plan of the restore: memfd_create");
    // The stack's pages are a hole behind the data.
    if (::ftruncate(plan.memfd.get(), static_cast<off_t>(header_.bytes)) != 0) return fail_errno("plan of the restore");
    OMX_TRY(write_all(plan.memfd.get(), file_));
    plan.operations = std::move(texts_);
    return plan;
}

}  // namespace omx
