// SPDX-License-Identifier: Apache-2.0
#include "policy/rounding.hpp"

#include <bit>

namespace gapless::policy {

std::uint64_t round_size(std::uint64_t bytes, const config::Divisions& divisions) {
  if (bytes < kUnitBytes) return kUnitBytes;
  const std::uint64_t parts = divisions.of(bytes);
  // "1200 with 4 divisions is 1280", says PyTorch's comment; its code yields 1536, because 1200 is not above 4 * 512.
  if (parts > 1 && bytes > kUnitBytes * parts) {
    if (std::has_single_bit(bytes)) return bytes;
    const std::uint64_t floor = std::bit_floor(bytes);
    const std::uint64_t step = floor >> (std::bit_width(parts) - 1);
    return step == 0 ? floor << 1 : round_up(bytes, step);
  }
  return round_up(bytes, kUnitBytes);
}

}  // namespace gapless::policy
