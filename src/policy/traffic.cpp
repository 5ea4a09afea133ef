// SPDX-License-Identifier: Apache-2.0
#include "policy/traffic.hpp"

namespace gapless::policy {

bool SharingSwitch::observe(const Traffic& now) {
  const std::uint64_t allocations = now.allocations - window_.allocations;
  if (on_ || allocations < kWindow) return on_;
  const std::uint64_t crossings = now.crossings - window_.crossings;
  const bool busy = crossings * kAllocationsPerCrossing > allocations && crossings > now.created - window_.created;
  on_ = busy && busy_;
  busy_ = busy;
  window_ = now;
  return on_;
}

}  // namespace gapless::policy
