// SPDX-License-Identifier: Apache-2.0
// Backing a range of slots as a transaction: plan, driver calls, then commit or undo.
//
//   plan    under map and fast lock. Handles are taken from where they are; the slots that they leave lose their ok
//           bit, so that a hit which lands there becomes a miss and waits for the map lock.
//   work    under the map lock alone: unmap, map, set access. Any call may fail.
//   commit  under map and fast lock: the range is backed.
//   undo    under map and fast lock: every handle is back where it was. That is bookkeeping only, since the mapping
//           that a taken handle left is still in place; where that one was a conflict itself and is gone, the handle is
//           loose. A mapping made here that the driver refuses to take away stays as a dormant one without access;
//           nothing else remembers the attempt.
//
// Only begin() asks the host for memory: under the fast lock none may be asked for, and what has begun cannot run out
// of it half-way.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "driver/driver.hpp"
#include "vmm/ledger.hpp"

namespace gapless::vmm {

struct MapCounts {
  std::uint64_t maps = 0;
  std::uint64_t access_calls = 0;
  std::uint64_t unmaps = 0;
};

class Transaction {
 public:
  Transaction(Ledger& ledger, driver::DriverOps& ops, std::uint64_t granule)
      : ledger_(ledger), ops_(ops), granule_(granule) {}
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  // At most `slots` slots of `space` will be planned for. `access_devices` may access them then; it must outlive the
  // transaction. Under the map lock alone. Throws std::bad_alloc; nothing has begun then.
  void begin(SpaceId space, std::size_t slots, std::span<const int> access_devices);

  // ---- plan
  // `id` is mapped at `slot` already and comes home. Its current place, if any, was last used at `stamp`.
  void reactivate(std::uint32_t slot, HandleId id, std::uint32_t stamp);
  // `slot` needs a handle.
  void need(std::uint32_t slot) { needed_.push_back(slot); }
  // The mapping at `slot` must go first. The slot is needed too.
  void conflict(std::uint32_t slot);
  void take_idle(HandleId id, std::uint32_t stamp);
  void take_loose(HandleId id);
  void take_created(HandleId id);
  std::size_t missing() const { return needed_.size() - supplied_.size(); }
  const std::vector<std::uint32_t>& conflicts() const { return conflicts_; }

  // ---- work
  driver::Result unmap_conflicts();
  driver::Result map_needed();
  const char* failed_call() const { return failed_call_; }
  const MapCounts& counts() const { return counts_; }

  // ---- end
  void commit();
  // The handles that take_created() gave are left to the caller (for_each_created), who releases those that are mapped
  // nowhere. Returns how many handles that were active in `space` are loose now.
  std::size_t undo();
  template <typename Visit>
  void for_each_created(Visit visit) const {
    for (const Supply& supply : supplied_)
      if (supply.from == From::created) visit(supply.id);
  }

  std::size_t reactivated() const { return reactivated_.size(); }
  std::size_t moved() const { return count(From::idle); }
  std::size_t created() const { return count(From::created); }
  std::size_t loose() const;
  // Slots of others that lost their handle here; for eager unmapping, after commit.
  struct Left {
    SpaceId space;
    std::uint32_t slot;
    std::uint32_t stamp;
  };
  const std::vector<Left>& left() const { return left_; }
  const std::vector<std::uint32_t>& needed() const { return needed_; }
  // All slots that commit() backs, in no order.
  template <typename Visit>
  void for_each_backed(Visit visit) const {
    for (const Home& home : reactivated_) visit(home.slot);
    for (const std::uint32_t slot : needed_) visit(slot);
  }

 private:
  enum class From : std::uint8_t { idle, loose, created };
  struct Supply {
    HandleId id;
    From from;
    SpaceId space;
    std::uint32_t slot;
    std::uint32_t stamp;
  };
  struct Home {
    Supply supply;
    std::uint32_t slot;
  };
  std::size_t count(From from) const;
  Supply take(HandleId id, std::uint32_t stamp);
  bool give_back(const Supply& supply);
  driver::Result unmap_run(std::uint32_t first, std::uint32_t count);
  void take_back_mappings();

  Ledger& ledger_;
  driver::DriverOps& ops_;
  std::span<const int> access_devices_;
  const std::uint64_t granule_;
  SpaceId space_ = kNoSpace;
  std::vector<Home> reactivated_;
  std::vector<std::uint32_t> needed_;  // ascending
  std::vector<std::uint32_t> conflicts_;
  std::vector<Supply> supplied_;  // supplied_[i] goes to needed_[i]
  std::vector<Left> left_;
  std::size_t mapped_ = 0;  // the first of needed_ that are mapped
  const char* failed_call_ = "";
  MapCounts counts_;
};

}  // namespace gapless::vmm
