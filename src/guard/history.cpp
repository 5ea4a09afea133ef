// SPDX-License-Identifier: Apache-2.0
#include "guard/history.hpp"

#include <algorithm>

namespace gapless::guard {

void History::add(int device, const gapless_guard_life& life) {
  lines_[count_++ % kLives] = Line{device, life};
}

std::uint32_t History::find(int device, std::uint64_t address, std::uint64_t before,
                            gapless_guard_life (&out)[GAPLESS_GUARD_LIVES]) const {
  std::uint32_t found = 0;
  const std::uint64_t oldest = count_ - std::min<std::uint64_t>(count_, kLives);
  for (std::uint64_t at = count_; at-- > oldest && found < GAPLESS_GUARD_LIVES;) {
    const Line& line = lines_[at % kLives];
    const auto begin = reinterpret_cast<std::uint64_t>(line.life.address);
    if (line.device != device || line.life.allocated >= before) continue;
    if (begin <= address && address - begin < line.life.requested_bytes) out[found++] = line.life;
  }
  return found;
}

}  // namespace gapless::guard
