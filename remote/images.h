// A process on its way in: its image, and the file contents that it waits for.
#pragma once
#include "loader/restore.h"
#include "remote/contents.h"

namespace omx {

struct Restore {
    HomePid pid;
    HomeTid tid;                         // the thread that waits at its execve, if is_exec
    bool is_exec = false;
    uint64_t serial = 0;
    Bytes body;                          // what the image's views point into
    Image image;
    std::vector<SharedFd> files;         // as image.files
    size_t missing = 0;
    std::optional<Plan> plan;
};

}  // namespace omx
