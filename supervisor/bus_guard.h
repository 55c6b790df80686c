// Memory of a mapped file that anybody may make shorter meanwhile: who touches what is no longer there gets SIGBUS.
#pragma once
#include <functional>

namespace omx {

// False: some of it wasn't there, and `touch` was left at that point. It must own nothing then, and call nothing that
// does.
bool touch_mapped(const std::function<void()>& touch);

}  // namespace omx
