// The one main of all unit tests. doctest is compiled here and nowhere else.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

// Under the address sanitizer faults stay the kernel's: this program restores itself as a guest, which dies of some on
// purpose. An environment variable wouldn't reach the guest.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
    return "handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0";
}
