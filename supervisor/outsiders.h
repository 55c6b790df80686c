// Whether a file that guests map shared is in somebody else's hands, too.
#pragma once
#include <cstddef>
#include <string>

namespace omx {

// Who, outside of this supervisor, has the file of `fd` mapped shared: a sentence, or empty. `ours` is a mapping of it
// here.
std::string somebody_else_has(int fd, const std::byte* ours);

// `fd` is open for reading only.
bool somebody_has_it_to_write(int fd);

}  // namespace omx
