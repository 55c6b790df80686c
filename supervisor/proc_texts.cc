#include "supervisor/proc_texts.h"

#include <algorithm>

namespace omx {

const std::string* ProcTexts::find(HomePid reader, int number, ino_t inode) {
    auto best = kept_.end();
    for (auto k = kept_.begin(); k != kept_.end(); ++k) {
        if (k->reader != reader || k->inode != inode) continue;
        if (best == kept_.end() || k->number == number) best = k;
        if (k->number == number) break;
    }
    if (best == kept_.end()) return nullptr;
    kept_.splice(kept_.begin(), kept_, best);
    return &kept_.front().text;
}

const std::string& ProcTexts::keep(HomePid reader, int number, ino_t inode, std::string text) {
    auto same = std::ranges::find_if(
        kept_, [&](auto& k) { return k.reader == reader && k.number == number && k.inode == inode; });
    if (same != kept_.end()) {
        bytes_ -= same->text.size();
        kept_.erase(same);
    }
    bytes_ += text.size();
    kept_.push_front({reader, number, inode, std::move(text)});
    while (kept_.size() > 1 && (kept_.size() > kMost || bytes_ > kMostBytes)) {
        bytes_ -= kept_.back().text.size();
        kept_.pop_back();
    }
    return kept_.front().text;
}

void ProcTexts::forget(HomePid reader) {
    std::erase_if(kept_, [&](auto& k) {
        if (k.reader != reader) return false;
        bytes_ -= k.text.size();
        return true;
    });
}

}  // namespace omx
