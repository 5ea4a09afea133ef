// SPDX-License-Identifier: Apache-2.0
/// @file
/// Allocation with an alignment, as memory resources are asked for it: one place for sizes and alignments that the C
/// ABI lacks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gapless/cpp/device.hpp"

namespace gapless::interop {

/// What every address of gapless is a multiple of.
inline constexpr std::size_t kBlockAlignment = 512;

/// `bytes` at a multiple of `alignment`, a power of two; for 0 bytes an address too, which memory resources promise and
/// the C ABI does not. Throws OutOfMemory or Error.
[[nodiscard]] inline void* allocate_aligned(Device device, Stream stream, std::size_t bytes, std::size_t alignment) {
  if (bytes == 0) bytes = 1;
  if (alignment <= kBlockAlignment) return device.allocate(bytes, stream).release();
  const std::size_t extra = alignment - kBlockAlignment;
  Block block = device.allocate(bytes > kNoLimit - extra ? kNoLimit : bytes + extra, stream);
  const auto start = reinterpret_cast<std::uintptr_t>(block.release());
  return reinterpret_cast<void*>((start + alignment - 1) & ~(alignment - 1));
}

/// Gives back what allocate_aligned made with the same alignment. Never waits.
inline void deallocate_aligned(Device device, void* pointer, std::size_t alignment) noexcept {
  if (alignment > kBlockAlignment && pointer != nullptr) {
    // The block may begin before the address that was handed out.
    BlockInfo info = GAPLESS_STRUCT(gapless_block_info);
    if (gapless_block_of(device.allocator(), pointer, &info) != GAPLESS_OK) return;
    pointer = info.address;
  }
  static_cast<void>(gapless_deallocate(device.allocator(), pointer));
}

}  // namespace gapless::interop
