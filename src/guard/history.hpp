// SPDX-License-Identifier: Apache-2.0
// The last lives of blocks that have ended: who lay at an address before.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "gapless/gapless.h"

namespace gapless::guard {

class History {
 public:
  static constexpr std::size_t kLives = 8192;

  void add(int device, const gapless_guard_life& life);
  // The latest lives first, at most GAPLESS_GUARD_LIVES, of blocks that covered `address` and were allocated before
  // `before`; their red zones do not count.
  std::uint32_t find(int device, std::uint64_t address, std::uint64_t before,
                     gapless_guard_life (&out)[GAPLESS_GUARD_LIVES]) const;

 private:
  struct Line {
    int device;
    gapless_guard_life life;
  };
  std::array<Line, kLives> lines_{};
  std::uint64_t count_ = 0;
};

}  // namespace gapless::guard
