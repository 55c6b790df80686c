#include "loader/page_source.h"
#include "loader/image_check.h"
#include "loader/proc_files.h"
#include <algorithm>
#include <fcntl.h>
#include <unistd.h>

namespace omx {
namespace {

constexpr size_t kWords = 4096;                 // of the page map at a time: 16 MiB of address space

bool all_zero(View page) {
    return page.front() == std::byte{0} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

}  // namespace

bool is_own_page(uint64_t word) {
    constexpr uint64_t present = 1ull << 63, swapped = 1ull << 62, file_or_shared = 1ull << 61;
    return (word & (present | swapped)) && !(word & file_or_shared);
}

Result<PageSource> PageSource::open(HomeTid tid, std::vector<PageRange> ranges) {
    auto process = ProcDir::open(HomePid(tid.value));
    if (!process) return std::unexpected(process.error());
    auto memory = process->open_file("mem", O_RDONLY);
    if (!memory) return std::unexpected(memory.error());
    auto pagemap = process->open_file("pagemap", O_RDONLY);
    if (!pagemap) return std::unexpected(pagemap.error());
    return PageSource(std::move(*memory), std::move(*pagemap), std::move(ranges));
}

// Page table words from at_ on.
Status PageSource::look_ahead() {
    auto& range = ranges_[range_];
    words_at_ = at_;
    words_.resize(std::min<size_t>((range.end - at_) / kPage, kWords));
    if (range.everything) return {};
    auto bytes = words_.size() * sizeof(uint64_t);
    auto got = ::pread(pagemap_.get(), words_.data(), bytes, static_cast<off_t>(at_ / kPage * sizeof(uint64_t)));
    if (got != static_cast<ssize_t>(bytes)) return fail_errno("page map", got < 0 ? errno : EIO);
    return {};
}

bool PageSource::wanted(uint64_t address) const {
    if (ranges_[range_].everything) return true;
    return is_own_page(words_[(address - words_at_) / kPage]);
}

Result<std::optional<PageSource::Run>> PageSource::next(size_t most_bytes) {
    Run run;
    for (; range_ < ranges_.size(); range_++, at_ = 0, words_.clear()) {
        auto& range = ranges_[range_];
        if (at_ == 0) at_ = range.start;
        for (; at_ < range.end; at_ += kPage) {
            if (at_ >= words_at_ + words_.size() * kPage || words_.empty()) OMX_TRY(look_ahead());
            bool take = wanted(at_);
            if (take) {
                if (run.bytes.empty()) run.address = at_;
                auto had = run.bytes.size();
                run.bytes.resize(had + kPage);
                auto page = std::span(run.bytes).subspan(had);
                auto got = ::pread(memory_.get(), page.data(), kPage, static_cast<off_t>(at_));
                // Behind the end of a file that is shared: nobody can have used it.
                bool none = got < 0 && errno == EIO && range.everything;
                if (got != static_cast<ssize_t>(kPage) && !none)
                    return fail_errno(fmt::format("memory at {:x}", at_), got < 0 ? errno : EIO);
                take = !none && (range.of_file || !all_zero(page));
                if (!take) run.bytes.resize(had);
            }
            if (run.bytes.empty()) continue;
            if (take && run.bytes.size() < most_bytes) continue;
            if (take) at_ += kPage;
            return run;
        }
        if (run.bytes.empty()) continue;
        at_ = range.end;                         // the next call goes on with the range behind
        return run;
    }
    return std::nullopt;
}

}  // namespace omx
