// The pages of a stopped process that are its own, run by run: so much memory as one likes, without ever holding it.
#pragma once
#include "protocol/bytes.h"
#include "protocol/result.h"
#include "protocol/types.h"
#include "protocol/unique_fd.h"
#include <optional>
#include <vector>

namespace omx {

struct PageRange {
    uint64_t start = 0, end = 0;
    bool everything = false;           // shared memory: the page tables don't tell what is in it
    bool of_file = false;              // where a page of zeroes isn't what would be there by itself
};

// A word of /proc/PID/pagemap says that a page of the process's own is there, or swapped out: not a file's, not shared.
bool is_own_page(uint64_t pagemap_word);

class PageSource {
public:
    static Result<PageSource> open(HomeTid, std::vector<PageRange>);
    struct Run { uint64_t address = 0; Bytes bytes; };
    // The next run of at most `most_bytes`. Pages of zeroes are left out, but for those of files. nullopt: that was all.
    Result<std::optional<Run>> next(size_t most_bytes);

private:
    PageSource(UniqueFd memory, UniqueFd pagemap, std::vector<PageRange> ranges)
        : memory_(std::move(memory)), pagemap_(std::move(pagemap)), ranges_(std::move(ranges)) {}
    Status look_ahead();
    bool wanted(uint64_t address) const;

    UniqueFd memory_, pagemap_;
    std::vector<PageRange> ranges_;
    size_t range_ = 0;
    uint64_t at_ = 0;                  // in that range; 0: at its start
    std::vector<uint64_t> words_;      // of the page map, from words_at_ on
    uint64_t words_at_ = 0;
};

}  // namespace omx
