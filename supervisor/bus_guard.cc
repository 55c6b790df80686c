#include "supervisor/bus_guard.h"

#include <csetjmp>
#include <csignal>

namespace omx {

namespace {
sigjmp_buf* way_out = nullptr;      // of the supervisor's only thread

void on_bus_error(int) {
    if (way_out) siglongjmp(*way_out, 1);
    signal(SIGBUS, SIG_DFL);        // a mistake of ours: it comes again
}

// The signal is not blocked while it is handled, so that no mask has to be put back: that would cost a call each time.
bool prepare() {
    struct sigaction action{};
    action.sa_handler = on_bus_error;
    action.sa_flags = SA_NODEFER;
    return sigaction(SIGBUS, &action, nullptr) == 0;
}
}  // namespace

bool touch_mapped(const std::function<void()>& touch) {
    static const bool prepared = prepare();
    sigjmp_buf here;
    if (!prepared || sigsetjmp(here, 0)) {
        way_out = nullptr;
        return false;
    }
    way_out = &here;
    touch();
    way_out = nullptr;
    return true;
}

}  // namespace omx
