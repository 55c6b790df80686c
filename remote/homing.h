// A guest on its way home: what its worker keeps until home has all of it (homing.cc).
#pragma once
#include "loader/image.h"
#include "loader/page_source.h"
#include "protocol/types.h"
#include <optional>
#include <string>
#include <vector>

namespace omx {

// Inodes of the shared anonymous memory that a process has mapped.
std::vector<uint64_t> shared_memory_of(HomePid);

struct Homing {
    enum class Step : uint8_t {
        stopping,       // threads come to rest one by one
        asked,          // all are at rest, home has been told
        captured,       // home has the image, and asks for pages when it has made room for them
        sending,
        sent,
    };
    Step step = Step::stopping;
    std::string reason, call;
    int64_t monotonic = 0;                 // its clock, when all stood still
    std::vector<HomePid> with;             // who share memory, itself too: all come, none before all are at rest
    // What was captured: the layout that home has been told of, and where pages of its own may be.
    std::vector<Region> regions;
    std::vector<FileKey> files;
    std::vector<PageRange> own;
    std::optional<PageSource> pages;
};

}  // namespace omx
