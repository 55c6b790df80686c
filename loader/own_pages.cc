#include "loader/own_pages.h"
#include "loader/image_check.h"
#include "loader/page_source.h"
#include <algorithm>
#include <unistd.h>

namespace omx {
namespace {

using Page = std::array<std::byte, kPage>;

// An image is one frame. Only a program whose file can't be opened comes near this at its exec.
constexpr size_t kMostBytes = kMaxFrameBytes / 4 * 3;

// What the file puts there: past its end, zeroes up to the page's end. An unreadable page compares as zeroes, which is
// only less economical.
void read_file_page(int fd, uint64_t offset, Page& page) {
    page.fill(std::byte{0});
    if (fd < 0) return;
    for (size_t got = 0; got < kPage;) {
        ssize_t n = ::pread(fd, page.data() + got, kPage - got, static_cast<off_t>(offset + got));
        if (n <= 0) return;
        got += static_cast<size_t>(n);
    }
}

}  // namespace

Status OwnPages::collect(const Region& region, int file_fd, bool everything) {
    region_runs_at_ = runs_.size();
    std::array<uint64_t, 4096> words;       // 16 MiB of address space a time
    for (uint64_t at = region.start; at < region.end;) {
        size_t count = std::min<size_t>((region.end - at) / kPage, words.size());
        auto got = ::pread(pagemap_fd_, words.data(), count * 8, static_cast<off_t>(at / kPage * 8));
        if (got != static_cast<ssize_t>(count * 8)) return fail_errno("page map", got < 0 ? errno : EIO);
        for (size_t i = 0; i < count; i++)
            if (everything || is_own_page(words[i])) OMX_TRY(collect_page(region, at + i * kPage, file_fd, everything));
        at += count * kPage;
    }
    return {};
}

Status OwnPages::collect_page(const Region& region, uint64_t address, int file_fd, bool everything) {
    Page page, by_itself;
    auto got = ::pread(memory_fd_, page.data(), kPage, static_cast<off_t>(address));
    if (got < 0 && errno == EIO && everything) return {};      // behind the file's end: nobody has used it yet
    if (got != static_cast<ssize_t>(kPage))
        return fail_errno(fmt::format("memory at {:x}", address), got < 0 ? errno : EIO);
    read_file_page(file_fd, region.file_offset + (address - region.start), by_itself);
    auto differs = [&](size_t i) { return page[i] != by_itself[i]; };
    size_t first = 0, last = kPage;
    while (first < last && !differs(first)) first++;
    while (last > first && !differs(last - 1)) last--;
    if (bytes_.size() > kMostBytes)
        return fail(fmt::format("its own memory is over {} MiB, more than one image may have", kMostBytes >> 20));
    if (first < last) add(address + first, View(page).subspan(first, last - first));
    return {};
}

void OwnPages::add(uint64_t address, View bytes) {
    bool touches = runs_.size() > region_runs_at_ && runs_.back().address + runs_.back().bytes == address;
    if (touches) {
        runs_.back().bytes += bytes.size();
    } else {
        runs_.push_back({address, bytes_.size(), bytes.size()});
    }
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

void OwnPages::store(Image& image) {
    image.storage = std::move(bytes_);
    View all(image.storage);
    for (const Run& r : runs_) image.contents.push_back({r.address, all.subspan(r.at, r.bytes)});
    runs_.clear();
}

}  // namespace omx
