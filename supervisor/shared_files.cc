#include "supervisor/shared_files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>

#include "supervisor/bus_guard.h"
#include "supervisor/outsiders.h"

namespace omx {

namespace {
constexpr size_t kMostFiles = 128, kMostBytes = 4 * kMaxSharedBytes;
constexpr long kXfs = 0x58465342;

// Where stores into a mapping and write() meet in one page cache, and nobody on another machine has the file, too.
bool one_page_cache(int fd) {
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0) return false;
    switch (fs.f_type) {
        case TMPFS_MAGIC:
        case EXT4_SUPER_MAGIC:
        case BTRFS_SUPER_MAGIC:
        case F2FS_SUPER_MAGIC:
        case OVERLAYFS_SUPER_MAGIC:
        case kXfs:
            return true;
        default:
            return false;
    }
}

std::byte* map(int fd, bool writable) {
    void* p = mmap(nullptr, kMaxSharedBytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? nullptr : static_cast<std::byte*>(p);
}
}  // namespace

SharedFiles::File::~File() {
    if (memory) munmap(memory, kMaxSharedBytes);
}

SharedFiles::File* SharedFiles::find(uint64_t handle) {
    auto it = files_.find(handle);
    return it == files_.end() ? nullptr : it->second.get();
}

SharedFiles::File* SharedFiles::find(uint64_t device, uint64_t inode) {
    auto it = std::ranges::find_if(files_, [&](auto& f) {
        return f.second->device == device && f.second->inode == inode;
    });
    return it == files_.end() ? nullptr : it->second.get();
}

Result<SharedFiles::File*> SharedFiles::share(UniqueFd file, bool executable, uint64_t& next_handle) {
    struct stat st;
    if (fstat(file.get(), &st) < 0 || !S_ISREG(st.st_mode)) return fail("only a file can be shared with a node");
    if (executable) return fail("code in a file mapped shared can't be on two machines at once");
    if (!one_page_cache(file.get())) return fail("a file of such a file system can't be shared with a node");
    if (static_cast<uint64_t>(st.st_size) > kMaxSharedBytes)
        return fail(fmt::format("a file mapped shared of more than {} KiB can't be on two machines at once",
                                kMaxSharedBytes >> 10));
    bool writable = (fcntl(file.get(), F_GETFL) & O_ACCMODE) != O_RDONLY;
    auto known = find(st.st_dev, st.st_ino);
    size_t bytes = static_cast<size_t>(st.st_size);
    for (auto& [handle, f] : files_) bytes += f->twin.size();
    if (!known && (files_.size() >= kMostFiles || bytes > kMostBytes))
        return fail("more files mapped shared than a node may have at once");
    if (known && known->over) return fail("a file mapped shared is coming home");
    auto fresh = std::make_unique<File>();
    fresh->memory = map(file.get(), writable);
    if (!fresh->memory) return fail_errno("mmap of a shared file");
    if (auto who = somebody_else_has(file.get(), fresh->memory); !who.empty()) {
        if (known) return std::unexpected(Error{who, EBUSY});
        return fail(std::move(who));
    }
    if (known && (known->writable || !writable)) return known;
    if (known) {
        std::swap(known->memory, fresh->memory);
        known->fd = std::move(file);
        known->writable = true;
        return known;
    }
    fresh->handle = next_handle++, fresh->device = st.st_dev, fresh->inode = st.st_ino;
    fresh->fd = std::move(file), fresh->writable = writable;
    auto& added = *fresh;
    watch(added);
    files_.emplace(added.handle, std::move(fresh));
    return &added;
}

Bytes SharedFiles::grant(File& f, bool writable) {
    if (f.grants++ == 0) {
        Bytes content(kMaxSharedBytes);
        auto n = pread(f.fd.get(), content.data(), content.size(), 0);
        f.twin = Twin(View(content.data(), static_cast<size_t>(std::max<ssize_t>(n, 0))));
    }
    f.being_granted = true;
    Bytes attachment;
    Writer w(attachment);
    FileKey{.handle = f.handle, .device = f.device, .inode = f.inode, .bytes = f.twin.size(), .mtime_ns = 0,
            .ctime_ns = 0, .cacheable = false}.encode(w);
    SharedGrant{writable, f.grants, f.number, f.twin.bytes()}.encode(w);
    return attachment;
}

void SharedFiles::tell(Link& link) {
    for (auto& [handle, file] : files_) {
        auto& f = *file;
        struct stat st;
        if (f.grants == 0 || f.being_granted || f.over || fstat(f.fd.get(), &st) < 0) continue;
        auto size = static_cast<size_t>(st.st_size);
        if (size > kMaxSharedBytes) {
            end(f, link, "a file that it has mapped shared has grown too big to be on two machines at once");
            continue;
        }
        bool same = size == f.twin.size();
        if (same && touch_mapped([&] { same = f.twin.same(f.memory); }) && same) continue;
        Bytes now(size);
        auto n = pread(f.fd.get(), now.data(), now.size(), 0);
        now.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
        f.twin.resize(now.size());
        SharedFrame news{.handle = f.handle, .number = ++f.number, .bytes = now.size(),
                         .changes = f.twin.take(View(now))};
        f.changed_in.resize(std::max(f.changed_in.size(), now.size()));
        for (auto& c : news.changes) std::fill_n(f.changed_in.begin() + c.offset, c.data.size(), f.number);
        link.send(FrameType::shared, 0, news);
    }
}

// A byte that home has changed since the node last looked stays as home has it: the node learns of it, and so both have
// the same in the end. (Two who write one byte at once can't tell who was first.)
Status SharedFiles::on_changes(const SharedFrame& news) {
    auto f = find(news.handle);
    if (!f || !f->writable) return fail("the node changed a file that it has not been given to write");
    for (auto c : news.changes) {
        if (c.offset >= f->twin.size()) break;                      // it has become shorter
        c.data = c.data.first(std::min(c.data.size(), f->twin.size() - c.offset));
        for (size_t from = 0; from < c.data.size();) {
            auto unseen = [&](size_t i) {
                return c.offset + i < f->changed_in.size() && f->changed_in[c.offset + i] > news.number;
            };
            size_t end = from;
            while (end < c.data.size() && !unseen(end)) end++;
            Change part{c.offset + static_cast<uint32_t>(from), c.data.subspan(from, end - from)};
            if (end > from && touch_mapped([&] {
                    std::memcpy(f->memory + part.offset, part.data.data(), part.data.size());
                }))
                f->twin.agree(part);
            from = end + 1;
        }
    }
    return {};
}

void SharedFiles::on_done(const SharedDone& done) {
    // Another answer is on its way, with which the node will have it again.
    auto f = find(done.handle);
    if (!f || f->grants != done.grant) return;
    if (f->watch >= 0) inotify_rm_watch(events_.get(), f->watch);
    files_.erase(done.handle);
}

// ---- what others do here ----

void SharedFiles::watch(File& f) {
    if (!events_) events_.reset(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    auto path = fmt::format("/proc/self/fd/{}", f.fd.get());
    f.watch = inotify_add_watch(events_.get(), path.c_str(), IN_MODIFY | IN_OPEN);
}

bool SharedFiles::on_events(Link& link) {
    alignas(inotify_event) char events[4096];
    bool changed = false, opened = false;
    for (ssize_t n; (n = read(events_.get(), events, sizeof events)) > 0;)
        for (ssize_t at = 0; at < n;) {
            inotify_event event;
            std::memcpy(&event, events + at, sizeof event);
            at += static_cast<ssize_t>(sizeof event + event.len);
            changed |= event.mask & IN_MODIFY;
            if (!(event.mask & IN_OPEN)) continue;
            for (auto& [handle, f] : files_)
                if (f->watch == event.wd) f->opened = opened = true;
        }
    if (changed) tell(link);
    return opened;
}

void SharedFiles::look_at_opened(Link& link) {
    for (auto& [handle, f] : files_)
        if (std::exchange(f->opened, false) && !f->over)
            if (auto who = somebody_else_has(f->fd.get(), f->memory); !who.empty()) end(*f, link, who);
}

void SharedFiles::end(File& f, Link& link, const std::string& reason) {
    if (std::exchange(f.over, true)) return;
    link.send(FrameType::shared_over, 0, SharedOver{f.handle, reason});
}

int64_t SharedFiles::sync(uint64_t handle, int flags) const {
    int64_t result = 0;
    for (auto& [number, f] : files_)
        if ((handle == 0 || number == handle) && msync(f->memory, kMaxSharedBytes, flags) < 0 && !result)
            result = -errno;
    return result;
}

}  // namespace omx
