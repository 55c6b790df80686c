// Files whose content the node wants: named by a handle that home gave out, sent in pieces that never delay a call.
#include <fcntl.h>
#include <sys/syscall.h>

#include <algorithm>

#include "loader/capture.h"
#include "supervisor/job.h"

namespace omx {

namespace {
constexpr size_t kPieceBytes = 256 << 10;
constexpr size_t kQueueBytes = 1 << 20;  // so much may wait in the link

UniqueFd get_descriptor(int pidfd, int number) {
    return UniqueFd(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, number, 0)));
}
}  // namespace

// What a number stands for in a process. A leader that has ended has no descriptors any more, although the others still
// have (F14); then it goes by the thread's own pidfd (Linux 6.9), or, without that, by opening the same file.
Result<UniqueFd> Job::borrow_descriptor(const Thread& t, int number) {
    if (auto fd = get_descriptor(t.process->pidfd.get(), number)) return fd;
    if (errno == EPERM) return fail_errno("pidfd_getfd");
    constexpr unsigned of_thread = O_EXCL;  // PIDFD_THREAD
    UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, t.tid.value, of_thread)));
    auto fd = pidfd ? get_descriptor(pidfd.get(), number)
                    : UniqueFd(open(fmt::format("/proc/{}/task/{}/fd/{}", t.process->pid.value, t.tid.value, number)
                                        .c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return fail_errno("pidfd_getfd");
    return fd;
}

Result<FileKey> Job::register_file(const Process& p, UniqueFd file) {
    auto key = key_of(file.get());
    if (!key) return key;
    kept_.keep(p.pid, *key, file.get());
    key->handle = next_file_++;
    files_[key->handle].fd = std::move(file);
    return key;
}

void Job::on_file_get(uint64_t id, const FileGet& get) {
    auto file = files_.find(get.handle);
    if (file == files_.end())
        return link_lost({fmt::format("the node asked for a file by the unknown handle {}", get.handle)});
    stats_.file_reads++;
    if (!std::exchange(file->second.fetched, true)) stats_.files_fetched++;
    transfers_.push_back(
        {id, get.handle, get.offset, get.offset + std::min<uint64_t>(get.bytes, ~uint64_t{0} - get.offset)});
    send_files();
}

void Job::on_file_done(const FileDone& done) {
    files_.erase(done.handle);
    std::erase_if(transfers_, [&](auto& t) { return t.handle == done.handle; });
}

bool Job::send_files() {
    while (link_up_ && !transfers_.empty() && link_.queued_bytes() < kQueueBytes) {
        auto& t = transfers_.front();
        Bytes piece(std::min<uint64_t>(kPieceBytes, t.end - t.at));
        auto n = pread(files_.at(t.handle).fd.get(), piece.data(), piece.size(), static_cast<off_t>(t.at));
        FileData data{.handle = t.handle,
                      .offset = t.at,
                      .error = n < 0 ? errno : 0,
                      .last = n <= 0 || t.at + static_cast<uint64_t>(n) >= t.end,
                      .data = View(piece.data(), static_cast<size_t>(std::max<ssize_t>(n, 0)))};
        link_.send(FrameType::file_data, t.id, data, Link::Priority::bulk);
        stats_.file_bytes_fetched += data.data.size();
        t.at += data.data.size();
        // In turns: what a guest waits for at a page of one file must not wait until all of another has been sent.
        std::rotate(transfers_.begin(), transfers_.begin() + 1, transfers_.end());
        if (data.last) transfers_.pop_back();
    }
    return link_up_ && !transfers_.empty() && link_.queued_bytes() < kQueueBytes;
}

}  // namespace omx
