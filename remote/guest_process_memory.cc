#include "remote/guest_process_memory.h"
#include "loader/capture.h"
#include "remote/kernel_abi.h"
#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

namespace omx {
namespace {

constexpr uint64_t kUserEnd = 1ull << 47;

// process_vm_readv and writev move nothing of an iovec element whose first page fails, but may also stop in the middle
// of one element: they go page by page and report what was moved before.
template <class Call> size_t moved(Call call, HomeTid tid, void* ours, uint64_t theirs, size_t bytes) {
    if (bytes == 0 || theirs >= kUserEnd) return 0;
    bytes = std::min<uint64_t>(bytes, kUserEnd - theirs);
    iovec local{ours, bytes}, remote{reinterpret_cast<void*>(theirs), bytes};
    auto n = call(tid.value, &local, 1, &remote, 1, 0);
    return n > 0 ? static_cast<size_t>(n) : 0;
}

}  // namespace

size_t ProcessMemory::read(GuestAddr from, std::span<std::byte> out) {
    auto n = moved(process_vm_readv, tid_, out.data(), from.value, out.size());
    if (n < out.size()) look_for_missing(from.value + n, out.size() - n);
    return n;
}

size_t ProcessMemory::write(GuestAddr to, View in) {
    return moved(process_vm_writev, tid_, const_cast<std::byte*>(in.data()), to.value, in.size());
}

bool ProcessMemory::write_forced(GuestAddr to, View in) {
    UniqueFd fd(open(fmt::format("/proc/{}/mem", tid_.value).c_str(), O_WRONLY | O_CLOEXEC));
    return fd &&
           pwrite(fd.get(), in.data(), in.size(), static_cast<off_t>(to.value)) == static_cast<ssize_t>(in.size());
}

size_t ProcessMemory::writable(GuestAddr at, size_t bytes) {
    if (at.value >= kUserEnd) return 0;
    uint64_t end = at.value + std::min<uint64_t>(bytes, kUserEnd - at.value), reached = at.value;
    Mapping m{};
    while (reached < end && mapping_at(reached, m) && m.writable) reached = m.end;
    reached = std::min(reached, end);
    look_for_missing(at.value, reached - at.value);
    return reached - at.value;
}

void ProcessMemory::look_for_missing(uint64_t at, uint64_t bytes) {
    if (!space_ || space_->empty() || missing_) return;
    uint64_t end = at + std::min<uint64_t>(bytes, kUserEnd - at);
    Mapping m{};
    for (; at < end && mapping_at(at, m); at = m.end) {
        auto lazy = lazily_mapped(GuestAddr(at), std::min(end, m.end) - at);
        if (!lazy || lazy->file->here(lazy->from, lazy->end)) continue;
        missing_ = std::move(lazy);
        return;
    }
}

std::optional<ProcessMemory::Missing> ProcessMemory::lazily_mapped(GuestAddr at, uint64_t bytes) {
    Mapping m{};
    if (!space_ || space_->empty() || !mapping_at(at.value, m)) return std::nullopt;
    auto file = space_->file(m.device, m.inode);
    if (!file) return std::nullopt;
    uint64_t from = m.offset + (at.value - m.start);
    return Missing{std::move(file), from, from + std::min(bytes, m.end - at.value)};
}

bool ProcessMemory::mapping_at(uint64_t address, Mapping& m) {
    if (!maps_) maps_.reset(open(fmt::format("/proc/{}/maps", tid_.value).c_str(), O_RDONLY | O_CLOEXEC));
    if (!maps_) return false;
    if (!has_query_) return mapping_from_text(address, m);
    abi::ProcmapQuery q{};
    q.size = sizeof q;
    q.query_addr = address;
    if (ioctl(maps_.get(), abi::kProcmapQuery, &q) == 0) {
        m = {q.vma_start, q.vma_end, (q.vma_flags & abi::kProcmapVmaWritable) != 0, makedev(q.dev_major, q.dev_minor),
             q.inode, q.vma_offset};
        return true;
    }
    if (errno != ENOTTY && errno != EINVAL) return false;         // ENOENT: nothing is mapped there
    has_query_ = false;
    return mapping_from_text(address, m);
}

bool ProcessMemory::mapping_from_text(uint64_t address, Mapping& m) {
    std::string text;
    char piece[16384];
    for (ssize_t n; (n = pread(maps_.get(), piece, sizeof piece, static_cast<off_t>(text.size()))) > 0;)
        text.append(piece, static_cast<size_t>(n));
    auto entries = parse_maps(text);
    if (!entries) return false;
    for (auto& e : *entries)
        if (e.start <= address && address < e.end) {
            m = {e.start, e.end, (e.prot & PROT_WRITE) != 0, makedev(e.dev_major, e.dev_minor), e.inode, e.offset};
            return true;
        }
    return false;
}

}  // namespace omx
