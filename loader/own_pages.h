// Which bytes of a stopped process differ from what its mappings would hold by themselves.
#pragma once
#include "loader/image.h"

namespace omx {

class OwnPages {
public:
    // Borrowed descriptors of /proc/PID/{mem,pagemap}.
    OwnPages(int memory_fd, int pagemap_fd) : memory_fd_(memory_fd), pagemap_fd_(pagemap_fd) {}

    // Adds what of `region` is the process's own. `file_fd` is what a file region maps, else -1: such pages are
    // compared with zeroes. `everything`: not only pages that are the process's own (a file we may not open).
    Status collect(const Region& region, int file_fd, bool everything);
    // Gives the runs to `image`, with their bytes in its storage.
    void store(Image& image);

private:
    struct Run { uint64_t address; size_t at, bytes; };
    Status collect_page(const Region&, uint64_t address, int file_fd, bool everything);
    void add(uint64_t address, View bytes);

    int memory_fd_, pagemap_fd_;
    std::vector<Run> runs_;
    size_t region_runs_at_ = 0;     // runs of earlier regions: never joined with
    Bytes bytes_;
};

}  // namespace omx
