// Taking the image of a guest on its node, wherever its threads stand: what its memory is made of here is this node's
// business (contents of home's files lie in memfds, home's vDSO is a page of ours), and the image says it in home's
// terms again.
#pragma once
#include "loader/capture.h"
#include "loader/image.h"
#include "loader/page_source.h"
#include <functional>

namespace omx {

// The file of home whose content is in this file here; nullptr: none of home's.
using ContentFinder = std::function<const FileKey*(FileId)>;

// Memory that processes of one node share without a file. In an image its "file" names it: device 0, its inode here.
bool is_shared_anonymous(const MapsEntry&);
// A file of home's that guests have mapped shared, in the memfd that stands for it here.
bool is_shared_file(const MapsEntry&);
constexpr const char* kSharedFileName = "omxsup-shared";

struct GuestCapture {
    Image image;                       // all but threads, pending signals and the exact brk
    std::vector<PageRange> own;        // where the process may have pages of its own
    uint64_t scratch = 0;              // 64 bytes that the process may write to are here, for calls injected into it
};

// All threads of the process are in a ptrace stop; `through` is one of them that has not ended.
Result<GuestCapture> capture_guest(HomePid, HomeTid through, const ContentFinder&);

}  // namespace omx
