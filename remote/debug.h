// OMXSUP_DEBUG=1 in the node's environment: one line per event on stderr. Costs one predictable branch when off.
#pragma once
#include <fmt/format.h>

namespace omx {

bool debugging();
void debug_line(const std::string&);

}  // namespace omx

#define OMX_DEBUG(...) \
    do { if (::omx::debugging()) [[unlikely]] ::omx::debug_line(fmt::format(__VA_ARGS__)); } while (0)
