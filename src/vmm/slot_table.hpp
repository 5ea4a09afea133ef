// SPDX-License-Identifier: Apache-2.0
// What lies behind the slots of one heap. A slot is a granule-sized place; the tables are indexed by it.
//
// `ok` is read by the hit path under the fast lock and written under map and fast lock. Everything else is read and
// written under the map lock.
#pragma once

#include <cstdint>

#include "base/compiler.hpp"
#include "base/flat_array.hpp"
#include "base/units.hpp"
#include "driver/driver.hpp"
#include "vmm/address_map.hpp"

namespace gapless::vmm {

using HandleId = std::uint32_t;
inline constexpr HandleId kNoHandle = 0;

class SlotTable {
 public:
  // Log2 of the units in a chunk: reservations lie at chunk borders of the logical space.
  static constexpr unsigned kChunkUnitShift = AddressMap::kChunkShift - kUnitShift;

  // `slot_shift`: log2 of the units in a slot. `capacity`: in units. `chunk_shift`: spans start at multiples of it.
  SlotTable(unsigned slot_shift, Units capacity, unsigned chunk_shift = kChunkUnitShift)
      : slot_shift_(slot_shift),
        chunk_shift_(chunk_shift),
        active_(slots_in(capacity)),
        mapped_(slots_in(capacity)),
        last_use_(slots_in(capacity)),
        ok_(slots_in(capacity) / 64 + 1),
        no_access_(slots_in(capacity) / 64 + 1),
        pinned_(slots_in(capacity) / 64 + 1),
        biases_((std::size_t{capacity.count()} >> chunk_shift) + 2) {}

  // Slots and addresses for [first, limit). False: no host memory.
  bool add_span(Units first, Units limit, driver::Address base);

  GAPLESS_FAST driver::Address address_of(Units offset) const {
    return biases_[offset.count() >> chunk_shift_] + offset.bytes();
  }
  driver::Address slot_address(std::uint32_t slot) const { return address_of(Units(slot << slot_shift_)); }
  std::uint32_t slot_of(Units offset) const { return offset.count() >> slot_shift_; }
  unsigned slot_shift() const { return slot_shift_; }

  // Are all slots that [offset, offset + size) touches backed? One word for each 64 slots (128 MiB at 2 MiB granules).
  GAPLESS_FAST bool backed(Units offset, Units size) const {
    const std::uint32_t first = offset.count() >> slot_shift_;
    const std::uint32_t last = (offset.count() + size.count() - 1) >> slot_shift_;
    if (first == last) [[likely]]
      return (ok_[first >> 6] >> (first & 63) & 1) != 0;
    return backed_range(first, last);
  }

  bool ok(std::uint32_t slot) const { return test(ok_, slot); }
  void set_ok(std::uint32_t slot, bool on) { assign(ok_, slot, on); }
  // A mapping that set_access never reached, or that a failed unmap may have taken away: it may not be used, and must
  // be unmapped before the slot is backed.
  bool no_access(std::uint32_t slot) const { return test(no_access_, slot); }
  void set_no_access(std::uint32_t slot, bool on) { assign(no_access_, slot, on); }
  // The slot's handle may not leave it (captured graphs and other processes know its address).
  bool pinned(std::uint32_t slot) const { return test(pinned_, slot); }
  void set_pinned(std::uint32_t slot, bool on) { assign(pinned_, slot, on); }

  HandleId& active(std::uint32_t slot) { return active_[slot]; }
  HandleId active(std::uint32_t slot) const { return active_[slot]; }
  HandleId& mapped(std::uint32_t slot) { return mapped_[slot]; }
  HandleId mapped(std::uint32_t slot) const { return mapped_[slot]; }
  std::uint32_t& last_use(std::uint32_t slot) { return last_use_[slot]; }

  std::uint32_t slots() const { return slots_; }
  std::size_t table_bytes() const { return active_.committed_bytes() * 3 + ok_.committed_bytes() * 3; }

 private:
  static bool test(const base::FlatArray<std::uint64_t>& words, std::uint32_t slot) {
    return (words[slot >> 6] >> (slot & 63) & 1) != 0;
  }
  static void assign(base::FlatArray<std::uint64_t>& words, std::uint32_t slot, bool on) {
    const std::uint64_t bit = std::uint64_t{1} << (slot & 63);
    words[slot >> 6] = on ? words[slot >> 6] | bit : words[slot >> 6] & ~bit;
  }
  std::size_t slots_in(Units capacity) const { return (std::size_t{capacity.count()} >> slot_shift_) + 1; }
  bool backed_range(std::uint32_t first, std::uint32_t last) const;

  const unsigned slot_shift_;
  const unsigned chunk_shift_;
  std::uint32_t slots_ = 0;
  base::FlatArray<HandleId> active_;
  base::FlatArray<HandleId> mapped_;
  base::FlatArray<std::uint32_t> last_use_;  // epoch of the heap's stream when the slot's handle left it
  base::FlatArray<std::uint64_t> ok_;
  base::FlatArray<std::uint64_t> no_access_;
  base::FlatArray<std::uint64_t> pinned_;
  // By chunk of logical space: what to add to an offset in bytes to get its address. Spans start at chunk borders.
  base::FlatArray<driver::Address> biases_;
};

}  // namespace gapless::vmm
