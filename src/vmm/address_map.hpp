// SPDX-License-Identifier: Apache-2.0
// From an address to the reservation that holds it, in one load and without a lock: the first thing that freeing does.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <vector>

#include "base/compiler.hpp"
#include "base/flat_array.hpp"
#include "base/lock.hpp"
#include "base/units.hpp"
#include "driver/driver.hpp"

namespace gapless::vmm {

// Whoever places blocks in a reservation (the engine's heaps).
struct RegionOwner {};

// One range of device addresses and where it lies in its owner's logical space. Records are recycled, never freed: a
// thread that frees an address which is not ours may read one while it changes, and the owner's lock decides whether
// what it read holds.
struct Region {
  std::atomic<RegionOwner*> owner{nullptr};
  std::atomic<driver::Address> base{0};
  std::atomic<std::uint64_t> bytes{0};
  std::atomic<std::uint32_t> first_unit{0};
  int device = -1;
};

class AddressMap {
 public:
  // Reservations are multiples of this, and aligned to it, so that a chunk belongs to one reservation at most.
  static constexpr unsigned kChunkShift = 30;
  static constexpr std::uint64_t kChunk = std::uint64_t{1} << kChunkShift;
  // 49 bits: more than the user addresses of any processor that CUDA runs on.
  static constexpr std::uint64_t kChunks = std::uint64_t{1} << (49 - kChunkShift);

  AddressMap();
  bool ok() const { return chunks_.size() == kChunks; }

  GAPLESS_FAST Region* find(driver::Address address) {
    const std::uint64_t chunk = address >> kChunkShift;
    if (chunk >= kChunks) [[unlikely]]
      return nullptr;
    Region* const region = std::atomic_ref<Region*>(chunks_[chunk]).load(std::memory_order_acquire);
    if (region == nullptr) [[unlikely]]
      return segments_.load(std::memory_order_relaxed) != 0 ? find_segment(address) : nullptr;
    return region;
  }

  // [base, base + bytes) in whole chunks. Null: no host memory, or addresses beyond the map.
  Region* add(driver::Address base, std::uint64_t bytes, int device, RegionOwner* owner, Units first);
  void remove(Region* region);
  // Memory that is not ours (a pool's own source): any base and size above 0; found by search. Null: some of it lies in
  // a reservation or in another segment, so that its addresses would mean two things, or beyond the map.
  Region* add_segment(driver::Address base, std::uint64_t bytes, int device, RegionOwner* owner, Units first);
  void remove_segment(Region* region);
  base::LeafLock& lock() { return lock_; }  // around fork()

 private:
  GAPLESS_SLOW Region* find_segment(driver::Address address);
  Region* take(driver::Address base, std::uint64_t bytes, int device, RegionOwner* owner, Units first);
  void clear(Region* region);

  base::FlatArray<Region*> chunks_;
  std::atomic<std::uint32_t> segments_{0};
  base::LeafLock lock_;  // the members below, and all writing
  std::deque<Region> regions_;
  std::vector<Region*> unused_;
  std::vector<Region*> by_base_;  // segments, ascending
};

}  // namespace gapless::vmm
