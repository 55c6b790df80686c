// Programs for the restore tests, inside the test binary itself: it is exec'ed with OMX_RESTORE_GUEST=NAME, and that
// guest runs instead of the tests. So the tests need no files beside the binary.
#pragma once

namespace omx::test {

constexpr const char* kGuestVariable = "OMX_RESTORE_GUEST";

}  // namespace omx::test
