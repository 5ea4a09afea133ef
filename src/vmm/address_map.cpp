// SPDX-License-Identifier: Apache-2.0
#include "vmm/address_map.hpp"

#include <algorithm>
#include <mutex>

namespace gapless::vmm {

AddressMap::AddressMap() : chunks_(kChunks) {
  static_cast<void>(chunks_.grow_to(kChunks));
}

Region* AddressMap::take(driver::Address base, std::uint64_t bytes, int device, RegionOwner* owner, Units first) {
  Region* region;
  if (unused_.empty()) {
    region = &regions_.emplace_back();
  } else {
    region = unused_.back();
    unused_.pop_back();
  }
  region->device = device;
  region->base = base;
  region->bytes = bytes;
  region->first_unit = first.count();
  region->owner = owner;
  return region;
}

void AddressMap::clear(Region* region) {
  region->owner = nullptr;
  region->bytes = 0;
  unused_.push_back(region);
}

Region* AddressMap::add(driver::Address base, std::uint64_t bytes, int device, RegionOwner* owner, Units first) {
  if ((base + bytes) >> kChunkShift > kChunks) return nullptr;
  const std::lock_guard guard(lock_);
  Region* const region = take(base, bytes, device, owner, first);
  for (std::uint64_t chunk = base >> kChunkShift; chunk < (base + bytes) >> kChunkShift; chunk++)
    std::atomic_ref<Region*>(chunks_[chunk]).store(region, std::memory_order_release);
  return region;
}

void AddressMap::remove(Region* region) {
  const std::lock_guard guard(lock_);
  for (std::uint64_t chunk = region->base >> kChunkShift; chunk < (region->base + region->bytes) >> kChunkShift;
       chunk++)
    std::atomic_ref<Region*>(chunks_[chunk]).store(nullptr, std::memory_order_release);
  clear(region);
}

Region* AddressMap::add_segment(driver::Address base, std::uint64_t bytes, int device, RegionOwner* owner,
                                Units first) {
  if (base + bytes < base || (base + bytes - 1) >> kChunkShift >= kChunks) return nullptr;
  const std::lock_guard guard(lock_);
  for (std::uint64_t chunk = base >> kChunkShift; chunk <= (base + bytes - 1) >> kChunkShift; chunk++)
    if (std::atomic_ref<Region*>(chunks_[chunk]).load(std::memory_order_relaxed) != nullptr) return nullptr;
  for (const Region* const other : by_base_)
    if (base < other->base + other->bytes && other->base < base + bytes) return nullptr;
  Region* const region = take(base, bytes, device, owner, first);
  const auto at = std::lower_bound(by_base_.begin(), by_base_.end(), base,
                                   [](const Region* r, driver::Address b) { return r->base < b; });
  by_base_.insert(at, region);
  segments_.store(static_cast<std::uint32_t>(by_base_.size()), std::memory_order_relaxed);
  return region;
}

void AddressMap::remove_segment(Region* region) {
  const std::lock_guard guard(lock_);
  std::erase(by_base_, region);
  segments_.store(static_cast<std::uint32_t>(by_base_.size()), std::memory_order_relaxed);
  clear(region);
}

Region* AddressMap::find_segment(driver::Address address) {
  const std::lock_guard guard(lock_);
  const auto after = std::upper_bound(by_base_.begin(), by_base_.end(), address,
                                      [](driver::Address a, const Region* r) { return a < r->base; });
  if (after == by_base_.begin()) return nullptr;
  Region* const region = *(after - 1);
  return address < region->base + region->bytes ? region : nullptr;
}

}  // namespace gapless::vmm
