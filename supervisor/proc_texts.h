// Texts of /proc that were made for a reader who has not come to their end: he goes on in the same text. As the kernel
// does it: what is read at the beginning of such a file is made afresh.
#pragma once
#include <list>
#include <string>
#include <sys/types.h>

#include "protocol/types.h"

namespace omx {

class ProcTexts {
public:
    static constexpr size_t kMost = 64, kMostBytes = 32 << 20;

    // Of the file that `inode` of /proc names, read by this process over that descriptor. The one for another of its
    // descriptors will do, too (it may be a duplicate). Null: there is none.
    const std::string* find(HomePid reader, int number, ino_t inode);
    const std::string& keep(HomePid reader, int number, ino_t inode, std::string text);
    void forget(HomePid reader);
    size_t size() const { return kept_.size(); }

private:
    struct Kept {
        HomePid reader;
        int number;
        ino_t inode;
        std::string text;
    };
    std::list<Kept> kept_;      // used last: in front
    size_t bytes_ = 0;
};

}  // namespace omx
