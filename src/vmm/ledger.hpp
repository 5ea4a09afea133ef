// SPDX-License-Identifier: Apache-2.0
// Which physical handle is where. One handle is one granule, always mapped whole.
//
//   active    at one slot, where accesses go through
//   dormant   at any number of further slots: the mappings that it left behind. They cost nothing to use again.
//   loose     active nowhere
//
// Under the map lock, but for the bits of SlotTable::ok, which change under map and fast lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "driver/driver.hpp"
#include "vmm/slot_table.hpp"

namespace gapless::vmm {

using SpaceId = std::uint32_t;
inline constexpr SpaceId kNoSpace = ~0u;

struct HandleRecord {
  driver::Handle handle = 0;
  SpaceId space = kNoSpace;  // where it is active; kNoSpace: loose
  std::uint32_t slot = 0;
  std::uint32_t mark = 0;      // of the plan that has looked at it
  std::uint32_t mappings = 0;  // active and dormant
  bool exists = false;
  bool listed = false;  // in the list of loose handles

  bool active() const { return space != kNoSpace; }
};

class Ledger {
 public:
  Ledger() : handles_(1) {}

  // Makes room for one more space: its add_space() does not ask the host for memory. Throws std::bad_alloc.
  void expect_space();
  SpaceId add_space(SlotTable* table);
  void remove_space(SpaceId space);
  SlotTable& space(SpaceId id) { return *spaces_[id]; }
  std::size_t spaces() const { return spaces_.size(); }
  bool has_space(SpaceId id) const { return spaces_[id] != nullptr; }

  HandleRecord& operator[](HandleId id) { return handles_[id]; }
  std::size_t handle_count() const { return exist_; }
  std::size_t handle_limit() const { return handles_.size(); }

  // Makes room for one more handle: neither its add() nor what becomes of it later asks the host for memory. Throws
  // std::bad_alloc.
  void expect_one();
  // A created handle, loose and unlisted: the caller holds it.
  HandleId add(driver::Handle handle);
  // A released handle. It is mapped nowhere.
  void drop(HandleId id);

  // Makes a loose handle active at a slot where it is mapped (I2). The ok bit is the caller's.
  void activate(HandleId id, SpaceId space, std::uint32_t slot);
  // Leaves its slot; the mapping stays as a dormant one that was last used at `stamp`.
  void deactivate(HandleId id, std::uint32_t stamp);
  void note_mapped(HandleId id, SpaceId space, std::uint32_t slot);
  void note_unmapped(SpaceId space, std::uint32_t slot);

  // Loose handles that nobody holds.
  void list(HandleId id);
  HandleId unlist_any();
  void unlist(HandleId id);
  std::size_t loose() const { return loose_.size(); }
  std::size_t dormant_mappings() const {
    const std::size_t active = active_;
    const std::size_t mappings = mappings_;
    return mappings > active ? mappings - active : 0;  // the two may be of different moments
  }

  // After 2^32 plans a mark may be met again: a dormant mapping is then taken for a conflict once, which is only
  // slower.
  std::uint32_t next_mark() { return ++mark_; }

  // Checks I2 (the part without blocks), I3, V1; throws BrokenInvariant. Cost: all slots.
  void validate();

 private:
  std::vector<SlotTable*> spaces_;
  std::vector<SpaceId> unused_spaces_;
  std::vector<HandleRecord> handles_;  // [0] is no handle
  std::vector<HandleId> unused_;
  std::vector<HandleId> loose_;
  std::uint32_t mark_ = 0;
  std::size_t exist_ = 0;
  // Atomic for statistics, which read them without the map lock.
  std::atomic<std::size_t> active_ = 0;
  std::atomic<std::size_t> mappings_ = 0;
};

}  // namespace gapless::vmm
