// SPDX-License-Identifier: Apache-2.0
// When physical memory may grow, and whose goes first when it may not.
#pragma once

#include <cstdint>

#include "base/units.hpp"

namespace gapless::policy {

// Physical bytes may grow to this before idle handles must move: slack times the peak of live bytes.
std::uint64_t growth_bound(std::uint64_t peak_live, double slack, std::uint64_t limit);
// Handles that may be created within it.
std::uint64_t may_create(std::uint64_t physical, std::uint64_t peak_live, double slack, std::uint64_t limit,
                         std::uint64_t granule);

// Handles that may be created at all.
std::uint64_t can_create(std::uint64_t physical, std::uint64_t limit, std::uint64_t granule);

// Handles that nobody has asked for yet are at most this part of physical memory.
inline constexpr std::uint64_t kPartAhead = 20;
// None are made while less than this part of the device is free.
inline constexpr std::uint64_t kPartLeftToOthers = 20;

// Free blocks give up their granules in descending order of this, each from its high end down: the largest block is the
// one whose place is needed back last, and the low end of a free block is where the next request lands.
constexpr std::uint64_t victim_rank(Units size, bool known_complete) {
  return (std::uint64_t{known_complete} << 32) | size.count();
}

}  // namespace gapless::policy
