// SPDX-License-Identifier: Apache-2.0
#include "driver/sim/address_space.hpp"

#include <iterator>

#include "driver/sim/types.hpp"

namespace gapless::driver::sim {

void AddressSpace::carve(Holes::iterator hole, Address at, std::uint64_t bytes) {
  const Address start = hole->first;
  const Address end = start + hole->second;
  const auto after = holes_.erase(hole);
  if (at + bytes < end) holes_.emplace_hint(after, at + bytes, end - at - bytes);
  if (start < at) holes_[start] = at - start;
}

Address AddressSpace::take(std::uint64_t bytes, std::uint64_t alignment) {
  if (bytes == 0 || bytes > bytes_) return 0;
  for (auto hole = holes_.begin(); hole != holes_.end(); ++hole) {
    const Address at = round_up(hole->first, alignment);
    if (at + bytes > hole->first + hole->second) continue;
    carve(hole, at, bytes);
    return at;
  }
  return 0;
}

bool AddressSpace::take_at(Address at, std::uint64_t bytes) {
  auto hole = holes_.upper_bound(at);
  if (hole == holes_.begin()) return false;
  --hole;
  if (bytes == 0 || bytes > bytes_ || at + bytes > hole->first + hole->second) return false;
  carve(hole, at, bytes);
  return true;
}

void AddressSpace::give(Address at, std::uint64_t bytes) {
  auto after = holes_.lower_bound(at);
  if (after != holes_.end() && after->first == at + bytes) {
    bytes += after->second;
    after = holes_.erase(after);
  }
  if (after != holes_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == at) {
      before->second += bytes;
      return;
    }
  }
  holes_.emplace_hint(after, at, bytes);
}

}  // namespace gapless::driver::sim
