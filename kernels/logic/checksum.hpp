// SPDX-License-Identifier: Apache-2.0
// The checksum: a sum over the range's 8-byte words, each mixed with its index, so that threads may add in any order
// and a swap of two words shows.
#pragma once

#include <cstdint>

#include "gapless_kernels.h"
#include "logic/host_device.hpp"
#include "logic/mix.hpp"

namespace gapless::kernels {

// Words of a range, counted from its first byte; the last may be partial.
GAPLESS_HD std::uint64_t checksum_word_count(std::uint64_t bytes) {
  return bytes / 8 + (bytes % 8 != 0 ? 1 : 0);
}

// The term of word `index`. A partial word is filled with zeros; its length goes into the index, so that trailing zero
// bytes count.
GAPLESS_HD std::uint64_t checksum_term(const unsigned char* memory, std::uint64_t bytes, std::uint64_t index) {
  const unsigned char* const at = memory + index * 8;
  const std::uint64_t left = bytes - index * 8;
  const std::uint64_t size = left < 8 ? left : 8;
  std::uint64_t word = 0;
  if (size == 8 && (reinterpret_cast<std::uintptr_t>(at) & 7) == 0) {
    word = *reinterpret_cast<const std::uint64_t*>(at);
  } else {
    for (std::uint64_t k = 0; k < size; ++k) word |= static_cast<std::uint64_t>(at[k]) << (k * 8);
  }
  return mix(word ^ mix(index * 9 + size));
}

}  // namespace gapless::kernels
