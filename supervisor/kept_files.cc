#include "supervisor/kept_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <unistd.h>

namespace omx {

void KeptFiles::keep(HomePid pid, const FileKey& key, int fd) {
    auto& files = of_[pid];
    auto id = identity(key);
    if (files && files->contains(id)) return;
    auto& known = open_[id];
    auto file = known.lock();
    if (!file) {
        UniqueFd own(open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
        if (!own) return;
        file = std::make_shared<UniqueFd>(std::move(own));
        known = file;
    }
    if (!files) files = std::make_shared<Files>();
    else if (files.use_count() > 1) files = std::make_shared<Files>(*files);
    files->emplace(id, std::move(file));
}

void KeptFiles::inherit(HomePid parent, HomePid child) {
    auto theirs = of_.find(parent);
    if (theirs == of_.end()) return;
    auto files = theirs->second;
    of_.insert_or_assign(child, std::move(files));
}

void KeptFiles::forget(HomePid pid) {
    if (of_.erase(pid) == 0) return;
    std::erase_if(open_, [](auto& f) { return f.second.expired(); });
}

int KeptFiles::find(HomePid pid, const FileKey& key) const {
    auto files = of_.find(pid);
    if (files == of_.end() || !files->second) return -1;
    auto file = files->second->find(identity(key));
    return file == files->second->end() ? -1 : file->second->get();
}

std::string KeptFiles::path_of(HomePid pid, uint64_t device, uint64_t inode) const {
    auto files = of_.find(pid);
    if (files == of_.end() || !files->second) return {};
    auto at = files->second->lower_bound({device, inode, INT64_MIN, INT64_MIN, 0});
    if (at == files->second->end() || std::get<0>(at->first) != device || std::get<1>(at->first) != inode) return {};
    return link_of_descriptor(at->second->get());
}

std::string link_of_descriptor(int fd) {
    std::string path(PATH_MAX, '\0');
    auto n = readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), path.data(), path.size());
    path.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return path;
}

}  // namespace omx
