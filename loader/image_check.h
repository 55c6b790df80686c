// What must hold of an image before anybody acts on it. Apart from the decoder because capture checks its own work too.
#pragma once
#include "loader/image.h"

namespace omx {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kUserStart = 0x10000;              // vm.mmap_min_addr is never above this; root may map below
constexpr uint64_t kUserEnd = 0x7ffffffff000;         // four-level paging; more is given only to who asks by address
constexpr size_t kMaxRegions = 1 << 17;               // twice the default of vm.max_map_count
constexpr size_t kMaxThreads = 1 << 15;
constexpr size_t kMaxFiles = 1 << 16;
constexpr size_t kMaxContents = 1 << 20;
constexpr uint64_t kMaxVdsoBytes = 1 << 16;

Status check_image(const Image&);

}  // namespace omx
