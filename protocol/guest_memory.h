// A guest's memory as seen by whoever serves its calls: two vectored-like primitives and a check. The worker's
// version uses process_vm_readv/writev; tests use a plain in-process one. No operation blocks or throws.
#pragma once
#include "protocol/bytes.h"
#include "protocol/types.h"

namespace omx {

class GuestMemory {
public:
    virtual ~GuestMemory() = default;
    // Reads up to out.size() bytes from `from`; returns how many leading bytes are readable (0: none).
    virtual size_t read(GuestAddr from, std::span<std::byte> out) = 0;
    // Writes; returns how many leading bytes could be written.
    virtual size_t write(GuestAddr to, View in) = 0;
    // How many leading bytes of [at, at + bytes) a write would reach, without touching them (PROCMAP_QUERY).
    virtual size_t writable(GuestAddr at, size_t bytes) = 0;
};

}  // namespace omx
