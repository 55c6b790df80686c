// Files without a name in memory, of the biggest pages that the kernel has for them: a memfd has pages of 4 KiB unless
// the machine's administrator says otherwise, a tmpfs of one's own (remote/sandbox) needn't ask. Mapping and touching
// one takes a tenth of the time.
#pragma once
#include "protocol/result.h"
#include "protocol/unique_fd.h"
#include <array>

namespace omx {

class BigPageFiles {
public:
    // The root of the tmpfs by two mounts, of which `reading` is read-only.
    BigPageFiles(UniqueFd writing, UniqueFd reading) : writing_(std::move(writing)), reading_(std::move(reading)) {}
    struct File {
        UniqueFd writer;
        // Who has only this can't open the file for writing or change its mode, whoever he is: its mount is read-only.
        UniqueFd reader;
    };
    Result<File> make(uint64_t bytes) const;
    std::array<int, 2> descriptors() const { return {writing_.get(), reading_.get()}; }

private:
    UniqueFd writing_, reading_;
};

}  // namespace omx
