// Looking into a vDSO, the kernel's or ours: both are ELF files whose bytes lie in memory as they are.
#pragma once
#include "protocol/bytes.h"
#include <optional>

namespace omx {

// Offset of a defined dynamic symbol from the object's start; nullopt if it has none of that name.
std::optional<uint64_t> vdso_symbol(View object, std::string_view name);
// Offset of the word in the "Linux" note that says the kernel's version.
std::optional<uint64_t> vdso_version_at(View object);

// Offset of a system call instruction in code, as a vDSO has some.
std::optional<uint64_t> system_call_in(View code);

// The vDSO that this process runs with; empty when it has none. As many bytes as its file has.
View own_vdso();
// LINUX_VERSION_CODE of this machine as its vDSO tells it; 0: it does not.
uint32_t kernel_version();

}  // namespace omx
