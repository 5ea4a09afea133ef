// SPDX-License-Identifier: Apache-2.0
// Ranges that a program names: their ends may pass the top of the address space, which plain sums would wrap.
#pragma once

#include <cstdint>

#include "driver/driver.hpp"

namespace gapless::driver {

// The end of [base, base + bytes), or the top of the address space.
constexpr Address end_of_range(Address base, std::uint64_t bytes) {
  return base + (bytes < ~base ? bytes : ~base);
}

// Is [base, base + bytes) within [start, start + size)? For start <= base.
constexpr bool range_within(Address base, std::uint64_t bytes, Address start, std::uint64_t size) {
  return base - start <= size && bytes <= size - (base - start);
}

}  // namespace gapless::driver
