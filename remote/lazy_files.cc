#include "remote/lazy_files.h"
#include "remote/debug.h"
#include <algorithm>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace omx {
namespace {

constexpr uint64_t kPageBytes = 4096;
// A probe costs one small read. Who reads on gets twice as much each time, until a request's way is short against the
// time that its bytes take.
constexpr uint64_t kFirstWindow = 64 << 10, kLastWindow = 8 << 20;
constexpr size_t kStreams = 8;

uint64_t page_up(uint64_t at) { return (at + kPageBytes - 1) & ~(kPageBytes - 1); }

}  // namespace

LazyFile::LazyFile(LazyFiles& files, const FileKey& key, UniqueFd memfd, UniqueFd reader)
    : files_(files), key_(key), memfd_(std::move(memfd)), reader_(std::move(reader)), size_(key.bytes) {
    struct stat s{};
    if (fstat(memfd_.get(), &s) == 0) device_ = s.st_dev, inode_ = s.st_ino;
}

LazyFile::~LazyFile() {
    for (auto& [id, request] : requests_) files_.requests_.erase(id);
    files_.link_.send(FrameType::file_done, 0, FileDone{key_.handle});
}

uint64_t LazyFile::hole_from(uint64_t at) const {
    if (at >= size_) return size_;
    auto hole = lseek(memfd_.get(), static_cast<off_t>(at), SEEK_HOLE);
    return hole < 0 ? size_ : std::min(static_cast<uint64_t>(hole), size_);
}

bool LazyFile::here(uint64_t from, uint64_t end) const {
    end = std::min(end, size_);
    return from >= end || hole_from(from) >= end;
}

void LazyFile::want(uint64_t from, uint64_t end, Done done) {
    if (here(from, end)) return done({});
    waiters_.push_back({from, std::min(end, size_), std::move(done)});
    ask(from, std::min(end, size_));
}

void LazyFile::ask(uint64_t from, uint64_t end) {
    for (uint64_t at = hole_from(from); at < end; at = hole_from(at)) {
        if (auto coming = request_within(at, at + 1)) {
            at = coming->end;
            continue;
        }
        auto begin = begin_of_request(at), stop = end_of_request(at, begin, end);
        auto id = files_.next_request_++;
        OMX_DEBUG("fetching {} bytes at {:#x} of inode {}", stop - begin, begin, key_.inode);
        requests_.emplace(id, Request{.at = begin, .end = stop, .rest = {}});
        files_.requests_.emplace(id, this);
        files_.link_.send(FrameType::file_get, id, FileGet{key_.handle, begin, stop - begin});
        at = stop;
    }
}

const LazyFile::Request* LazyFile::request_within(uint64_t from, uint64_t end) const {
    for (auto& [id, r] : requests_)
        if (r.begin() < end && r.end > from) return &r;
    return nullptr;
}

// A little ahead of the hole's first wanted page, if that is missing as well and not on its way.
uint64_t LazyFile::begin_of_request(uint64_t hole) const {
    uint64_t begin = hole & ~(kFirstWindow - 1);
    if (request_within(begin, hole) || hole_from(begin) != begin) return hole;
    auto data = lseek(memfd_.get(), static_cast<off_t>(begin), SEEK_DATA);       // ENXIO: none up to the end
    return data >= 0 && static_cast<uint64_t>(data) < hole ? hole : begin;
}

uint64_t LazyFile::end_of_request(uint64_t hole, uint64_t begin, uint64_t wanted) {
    uint64_t end = std::min(std::max(page_up(wanted), begin + window_at(hole)), size_);
    auto data = lseek(memfd_.get(), static_cast<off_t>(hole), SEEK_DATA);
    if (data >= 0) end = std::min(end, static_cast<uint64_t>(data));
    for (auto& [id, r] : requests_)
        if (r.begin() > hole) end = std::min(end, r.begin());
    if (!streams_.empty()) streams_.back().next = end;
    return end;
}

uint64_t LazyFile::window_at(uint64_t at) {
    auto it = std::ranges::find_if(streams_, [&](auto& s) { return s.next <= at && at < s.next + kFirstWindow; });
    if (it == streams_.end()) {
        if (streams_.size() >= kStreams) streams_.erase(streams_.begin());
        streams_.push_back({.next = 0, .window = kFirstWindow});
        return kFirstWindow;
    }
    std::rotate(it, it + 1, streams_.end());
    auto& window = streams_.back().window;
    return window = std::min(window * 2, kLastWindow);
}

// Page by page: a page that is there for the kernel must be there as a whole.
Status LazyFile::put(Request& r, View data, bool last) {
    uint64_t at = r.begin();
    if (!r.rest.empty() || (data.size() % kPageBytes && !last)) {
        r.rest.insert(r.rest.end(), data.begin(), data.end());
        data = View(r.rest);
    }
    View now = last ? data : data.first(data.size() / kPageBytes * kPageBytes);
    if (pwrite(memfd_.get(), now.data(), now.size(), static_cast<off_t>(at)) != static_cast<ssize_t>(now.size()))
        return fail_errno(fmt::format("this node has no room for {} bytes of a mapped file", now.size()));
    if (!r.rest.empty()) r.rest.erase(r.rest.begin(), r.rest.begin() + static_cast<ptrdiff_t>(now.size()));
    return {};
}

void LazyFile::tell_waiters(const Status& how, uint64_t from, uint64_t end) {
    std::vector<Waiter> ready;
    std::erase_if(waiters_, [&](Waiter& w) {
        bool over = how ? here(w.from, w.end) : w.from < end && w.end > from;
        if (over) ready.push_back(std::move(w));
        return over;
    });
    for (auto& w : ready) w.done(how);
}

Result<std::shared_ptr<LazyFile>> LazyFiles::open(const FileKey& key) {
    std::erase_if(files_, [](auto& f) { return f.expired(); });
    for (auto& known : files_) {
        auto file = known.lock();
        if (!key.cacheable || !file->key_.cacheable || !file->key_.same_content(key)) continue;
        link_.send(FrameType::file_done, 0, FileDone{key.handle});
        return file;
    }
    UniqueFd memfd(memfd_create("omxsup-lazy", MFD_CLOEXEC));
    if (!memfd || ftruncate(memfd.get(), static_cast<off_t>(key.bytes)) < 0)
        return fail_errno(fmt::format("a memfd of {} bytes", key.bytes));
    UniqueFd reader(::open(fmt::format("/proc/self/fd/{}", memfd.get()).c_str(), O_RDONLY | O_CLOEXEC));
    if (!reader) return fail_errno("opening a memfd read-only");
    auto file = std::make_shared<LazyFile>(*this, key, std::move(memfd), std::move(reader));
    files_.push_back(file);
    return file;
}

const FileKey* LazyFiles::file_of(uint64_t inode) const {
    for (auto& known : files_)
        if (auto file = known.lock(); file && file->inode_ == inode) return &file->key_;
    return nullptr;
}

Status LazyFiles::on_data(uint64_t request, const FileData& data) {
    auto it = requests_.find(request);
    if (it == requests_.end()) return {};                              // its file has gone meanwhile
    auto file = it->second;
    auto& r = file->requests_.at(request);
    if (data.handle != file->key_.handle || data.offset != r.at || data.data.size() > r.end - r.at)
        return fail("home sent a piece of a file that nobody asked for");
    Status put = data.error ? Status(fail(fmt::format("home can't read a mapped file: {}", std::strerror(data.error))))
                            : file->put(r, data.data, data.last);
    r.at += data.data.size();
    uint64_t at = r.at, end = r.end;
    bool over = data.last || !put;
    // It ends earlier now. Who touches what is behind the end, or did so long ago, gets SIGBUS as natively.
    if (put && over && at < end && at < file->size_ && ftruncate(file->memfd_.get(), static_cast<off_t>(at)) == 0)
        file->size_ = at;
    if (over) file->requests_.erase(request), requests_.erase(request);
    // Their callbacks may let go of the file, whoever holds it.
    auto held = std::ranges::find_if(files_, [&](auto& f) { return f.lock().get() == file; });
    auto alive = held == files_.end() ? nullptr : held->lock();
    file->tell_waiters(put, data.offset, end);
    return {};
}

}  // namespace omx
