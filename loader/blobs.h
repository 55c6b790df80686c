// The freestanding pieces, embedded at build time (loader/meson.build).
#pragma once
#include "protocol/bytes.h"

namespace omx {

View stub_elf();        // stub/stub.c, an ELF file to exec
View runner_code();     // stub/runner.c, a flat blob entered at its first byte
View island_code();     // island/, a flat blob for a fixed address
View our_vdso();        // vdso/vdso.c, an ELF object that is its own memory

}  // namespace omx
