#include "loader/blobs.h"
#include "loader/island/island.h"
#include "loader/restore.h"
#include <sys/mman.h>
#include <unistd.h>

namespace omx {

Result<UniqueFd> island_file() {
    View code = island_code();
    OMX_CHECK(code.size() <= OMX_ISLAND_CODE_BYTES, "making the island");
    // Mapped executable but never exec'ed: kernels since 6.3 want that said, older ones know no such flag.
    constexpr unsigned no_exec_seal = 8;        // MFD_NOEXEC_SEAL
    UniqueFd file(::memfd_create("omxsup-island", MFD_CLOEXEC | no_exec_seal));
    if (!file) file.reset(::memfd_create("omxsup-island", MFD_CLOEXEC));
    constexpr off_t kBytes = OMX_ISLAND_CODE_BYTES + OMX_ISLAND_STUBS_BYTES;
    if (!file || ::ftruncate(file.get(), kBytes) != 0 ||
        ::pwrite(file.get(), code.data(), code.size(), 0) != static_cast<ssize_t>(code.size()))
        return fail_errno("can't make the island's file");
    return file;
}

}  // namespace omx
