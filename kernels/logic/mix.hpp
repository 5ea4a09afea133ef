// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "logic/host_device.hpp"

namespace gapless::kernels {

// The finaliser of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): a bijection
// in which every input bit changes about half of the output bits.
GAPLESS_HD std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace gapless::kernels
