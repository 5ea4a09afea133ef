// SPDX-License-Identifier: Apache-2.0
#include "policy/growth.hpp"

#include <algorithm>

namespace gapless::policy {

std::uint64_t can_create(std::uint64_t physical, std::uint64_t limit, std::uint64_t granule) {
  return limit > physical ? (limit - physical) / granule : 0;
}

std::uint64_t growth_bound(std::uint64_t peak_live, double slack, std::uint64_t limit) {
  return std::min(static_cast<std::uint64_t>(static_cast<double>(peak_live) * slack), limit);
}

std::uint64_t may_create(std::uint64_t physical, std::uint64_t peak_live, double slack, std::uint64_t limit,
                         std::uint64_t granule) {
  return can_create(physical, growth_bound(peak_live, slack, limit), granule);
}

}  // namespace gapless::policy
