#include "remote/shared_copies.h"
#include "loader/guest_capture.h"
#include "remote/debug.h"
#include <algorithm>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace omx {

SharedCopies::File::~File() {
    if (memory) munmap(const_cast<std::byte*>(memory), kMaxSharedBytes);
}

const SharedCopies::File* SharedCopies::find(uint64_t handle) const {
    auto it = files_.find(handle);
    return it == files_.end() ? nullptr : it->second.get();
}

const SharedCopies::File* SharedCopies::of_inode(uint64_t inode) const {
    auto it = std::ranges::find_if(files_, [&](auto& f) { return f.second->inode == inode; });
    return it == files_.end() ? nullptr : it->second.get();
}

// Ours is a read-only mapping through a read-only descriptor: no word in whether the memfd can be sealed.
Status SharedCopies::make(File& f, View content) {
    UniqueFd memfd(memfd_create(kSharedFileName, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    struct stat st;
    if (!memfd || ftruncate(memfd.get(), static_cast<off_t>(content.size())) < 0 ||
        pwrite(memfd.get(), content.data(), content.size(), 0) != static_cast<ssize_t>(content.size()) ||
        fstat(memfd.get(), &st) < 0)
        return fail_errno("a memfd for a file mapped shared");
    UniqueFd reader(open(fmt::format("/proc/self/fd/{}", memfd.get()).c_str(), O_RDONLY | O_CLOEXEC));
    if (!reader) return fail_errno("opening a memfd read-only");
    void* p = mmap(nullptr, kMaxSharedBytes, PROT_READ, MAP_SHARED, reader.get(), 0);
    if (p == MAP_FAILED) return fail_errno("mmap of a memfd");
    f.memory = static_cast<const std::byte*>(p);
    f.inode = st.st_ino;
    f.memfd = std::make_shared<const UniqueFd>(std::move(memfd));
    f.reader = std::make_shared<const UniqueFd>(std::move(reader));
    f.twin = Twin(content);
    return {};
}

Result<SharedCopies::File*> SharedCopies::take(const FileKey& key, const SharedGrant& grant) {
    auto& f = files_[key.handle];
    if (!f) {
        f = std::make_unique<File>();
        f->key = key;
        f->number = grant.number;
        if (auto made = make(*f, grant.content); !made) {
            f->grants = grant.grant;
            done(key.handle);
            return std::unexpected(made.error());
        }
    }
    f->grants = grant.grant;
    (grant.writable ? f->writable : f->readable) = true;
    return f.get();
}

bool SharedCopies::tell() {
    bool any = false;
    for (auto& [handle, f] : files_) any |= f->writable && tell(*f);
    return any;
}

// What guests go on writing while it is read may be a mixture that never was. Read twice the same it was all there at
// one moment; who never stops for that long gets no better than other readers of his file.
bool SharedCopies::tell(File& f) {
    constexpr int kMostLooks = 8;
    if (f.twin.same(f.memory)) return false;
    Bytes now(f.twin.size());
    for (int looks = 0; looks < kMostLooks; looks++) {
        std::memcpy(now.data(), f.memory, now.size());
        if (std::memcmp(now.data(), f.memory, now.size()) == 0) break;
    }
    SharedFrame news{.handle = f.key.handle, .number = f.number, .bytes = 0, .changes = f.twin.take(View(now))};
    if (news.changes.empty()) return false;
    link_.send(FrameType::shared, 0, news);
    return true;
}

// What a guest has changed and home hasn't been told yet stays as it is here, and home will hear of it.
Status SharedCopies::on_changes(const SharedFrame& news) {
    auto it = files_.find(news.handle);
    if (it == files_.end()) return {};                      // nobody has it any more, and home will hear of that
    auto& f = *it->second;
    int memfd = f.memfd->get();
    if (news.bytes != f.twin.size()) {
        if (ftruncate(memfd, static_cast<off_t>(news.bytes)) < 0) return fail_errno("a memfd for a file mapped shared");
        f.twin.resize(news.bytes);
    }
    for (auto& c : news.changes) {
        if (c.offset + c.data.size() > f.twin.size()) return fail("home changed a shared file beyond its end");
        for (size_t from = 0, end; from < c.data.size(); from = end + 1) {
            auto ours = [&](size_t i) { return f.memory[c.offset + i] != f.twin.bytes()[c.offset + i]; };
            for (end = from; end < c.data.size() && !ours(end);) end++;
            if (end > from && pwrite(memfd, c.data.data() + from, end - from, static_cast<off_t>(c.offset + from)) < 0)
                return fail_errno("a memfd for a file mapped shared");
        }
        f.twin.agree(c);
    }
    f.number = news.number;
    return {};
}

bool SharedCopies::sealed_off(const File& f) { return fcntl(f.memfd->get(), F_ADD_SEALS, F_SEAL_WRITE) == 0; }

void SharedCopies::done(uint64_t handle) {
    auto it = files_.find(handle);
    if (it == files_.end()) return;
    OMX_DEBUG("shared file {} is done", handle);
    if (it->second->writable) tell(*it->second);
    link_.send(FrameType::shared_done, 0, SharedDone{handle, it->second->grants});
    files_.erase(it);
}

}  // namespace omx
