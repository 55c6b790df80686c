#include "supervisor/kept_files.h"

#include <fcntl.h>
#include <fmt/format.h>

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

}  // namespace omx
