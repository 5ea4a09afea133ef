// SPDX-License-Identifier: Apache-2.0
// From requested to block size.
#pragma once

#include <cstdint>

#include "base/units.hpp"
#include "config/values.hpp"

namespace gapless::policy {

// Requests above this fail without being looked at: block sizes are 32 bits of units.
inline constexpr std::uint64_t kLargestRequest = std::uint64_t{1} << 40;

// The rounded size in bytes, exactly as PyTorch computes it (c10, round_size): up to a multiple of 512 B; with
// roundup_power2_divisions above 1 for the size's interval, and only above 512 B times the divisions, up to the next
// division of the power of two below. `bytes` <= kLargestRequest.
std::uint64_t round_size(std::uint64_t bytes, const config::Divisions& divisions);

}  // namespace gapless::policy
