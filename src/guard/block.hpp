// SPDX-License-Identifier: Apache-2.0
// What the guard knows about one block.
#pragma once

#include <cstdint>
#include <vector>

#include "driver/driver.hpp"
#include "gapless/gapless.h"
#include "gapless_kernels.h"

namespace gapless::guard {

// A red zone is at least so long; it begins right behind the last byte that was asked for and ends with the block.
inline constexpr std::uint64_t kZoneBytes = 512;

struct Block {
  int device = 0;
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;  // as asked for
  std::uint64_t end = 0;    // of its red zone
  gapless_guard_life life{};
  std::vector<driver::Stream> others;  // recorded on it
  bool poisoned = false;               // since its free the body has its pattern

  driver::Stream stream() const { return life.stream; }
  // The zone keeps its pattern from birth to the end; the body has one once it is poisoned.
  gapless_guard_range zone() const { return {address + bytes, end - address - bytes, life.allocated * 2}; }
  gapless_guard_range body() const { return {address, bytes, life.allocated * 2 + 1}; }
};

}  // namespace gapless::guard
