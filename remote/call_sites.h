// System call sites of a guest that can be rewritten to go over its island (loader/island/island.h).
//
// What compilers make of a call in glibc is `syscall` followed by a comparison of rax: eight bytes that hold a jump to
// below 4 GiB. The stub that it leads to makes the comparison itself and comes back behind it. Other shapes are left
// alone: their calls go by notification, as all do until their site has proved hot.
#pragma once
#include "protocol/bytes.h"
#include "protocol/types.h"
#include <array>
#include <optional>
#include <sys/user.h>

namespace omx {

constexpr uint64_t kSiteSurroundings = 4096;       // bytes before and behind a site to look at

// `code` holds memory of the guest from `start` on. True if the eight bytes at `site` have the shape above and no jump
// in their surroundings leads into the middle of them.
bool can_be_rewritten(View code, GuestAddr start, GuestAddr site);

// The jump that is put there, the door that it leads to, and the stub behind that. `original` are the site's own eight
// bytes.
std::array<std::byte, 8> site_jump(unsigned index);
Bytes site_door(unsigned index);
Bytes site_stub(unsigned index, GuestAddr site, View original);

GuestAddr stub_address(unsigned index);
GuestAddr door_address(unsigned index);

}  // namespace omx
