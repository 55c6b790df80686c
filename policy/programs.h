// What is known of programs by their names. A policy file will add to these lists (docs/limits.md).
#pragma once
#include <string_view>

namespace omx {

// Debuggers and tracers, by the base name of their executable: they, and whom they start, can't do their work while
// somebody else traces them. omxsup is one of them: see docs/design.md.
bool traces_others(std::string_view program);

}  // namespace omx
