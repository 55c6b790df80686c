// libfmt as part of our own binary: Debian has it as a shared library only, and loading that one and libstdc++ behind
// it would take longer than starting a guest does. Its headers have the whole code; these are the instances it keeps.
#include <fmt/format-inl.h>

namespace fmt::detail {
template dragonbox::decimal_fp<float> dragonbox::to_decimal(float);
template dragonbox::decimal_fp<double> dragonbox::to_decimal(double);
template thousands_sep_result<char> thousands_sep_impl(locale_ref);
template char decimal_point_impl(locale_ref);
template void buffer<char>::append(const char*, const char*);
}  // namespace fmt::detail
