// SPDX-License-Identifier: Apache-2.0
#include "vmm/transaction.hpp"

#include "base/check.hpp"
#include "vmm/unmap.hpp"

namespace gapless::vmm {

using driver::Result;

void Transaction::begin(SpaceId space, std::size_t slots, std::span<const int> access_devices) {
  space_ = space;
  access_devices_ = access_devices;
  reactivated_.clear();
  needed_.clear();
  conflicts_.clear();
  supplied_.clear();
  left_.clear();
  mapped_ = 0;
  failed_call_ = "";
  counts_ = MapCounts{};
  reactivated_.reserve(slots);
  needed_.reserve(slots);
  conflicts_.reserve(slots);
  supplied_.reserve(slots);
  left_.reserve(slots);
}

Transaction::Supply Transaction::take(HandleId id, std::uint32_t stamp) {
  const HandleRecord& record = ledger_[id];
  if (!record.active()) {
    ledger_.unlist(id);
    return Supply{id, From::loose, kNoSpace, 0, 0};
  }
  const Supply supply{id, From::idle, record.space, record.slot, stamp};
  ledger_.space(record.space).set_ok(record.slot, false);
  ledger_.deactivate(id, stamp);
  left_.push_back(Left{supply.space, supply.slot, stamp});
  return supply;
}

void Transaction::reactivate(std::uint32_t slot, HandleId id, std::uint32_t stamp) {
  reactivated_.push_back(Home{take(id, stamp), slot});
}

void Transaction::conflict(std::uint32_t slot) {
  conflicts_.push_back(slot);
  needed_.push_back(slot);
}

void Transaction::take_idle(HandleId id, std::uint32_t stamp) {
  supplied_.push_back(take(id, stamp));
}

void Transaction::take_loose(HandleId id) {
  supplied_.push_back(Supply{id, From::loose, kNoSpace, 0, 0});
}

void Transaction::take_created(HandleId id) {
  supplied_.push_back(Supply{id, From::created, kNoSpace, 0, 0});
}

Result Transaction::unmap_run(std::uint32_t first, std::uint32_t count) {
  counts_.unmaps++;
  return ops_.unmap(ledger_.space(space_).slot_address(first), count * granule_);
}

Result Transaction::unmap_conflicts() {
  for (std::size_t i = 0; i < conflicts_.size();) {
    std::size_t end = i + 1;
    // Neighbours in the logical space may lie in different reservations: a run must not cross.
    while (end < conflicts_.size() && conflicts_[end] == conflicts_[end - 1] + 1 &&
           ledger_.space(space_).slot_address(conflicts_[end]) ==
               ledger_.space(space_).slot_address(conflicts_[end - 1]) + granule_)
      end++;
    const Result result = unmap_slots(ledger_, ops_, space_, conflicts_[i], static_cast<std::uint32_t>(end - i),
                                      granule_, counts_.unmaps);
    if (result != Result::ok) {
      failed_call_ = "cuMemUnmap";
      return result;
    }
    i = end;
  }
  return Result::ok;
}

Result Transaction::map_needed() {
  GAPLESS_CHECK(1, "I2", missing() == 0);
  SlotTable& table = ledger_.space(space_);
  while (mapped_ < needed_.size()) {
    // A run of slots with one set_access.
    const std::size_t start = mapped_;
    do {
      if (const Result result =
              ops_.map(table.slot_address(needed_[mapped_]), granule_, ledger_[supplied_[mapped_].id].handle);
          result != Result::ok) {
        failed_call_ = "cuMemMap";
        take_back_mappings();
        return result;
      }
      counts_.maps++;
      ledger_.note_mapped(supplied_[mapped_].id, space_, needed_[mapped_]);
      table.set_no_access(needed_[mapped_], true);
      mapped_++;
    } while (mapped_ < needed_.size() && needed_[mapped_] == needed_[mapped_ - 1] + 1);
    counts_.access_calls++;
    if (const Result result =
            ops_.set_access(table.slot_address(needed_[start]), (mapped_ - start) * granule_, access_devices_);
        result != Result::ok) {
      failed_call_ = "cuMemSetAccess";
      take_back_mappings();
      return result;
    }
    for (std::size_t i = start; i < mapped_; i++) table.set_no_access(needed_[i], false);
  }
  return Result::ok;
}

void Transaction::take_back_mappings() {
  SlotTable& table = ledger_.space(space_);
  for (std::size_t i = 0; i < mapped_;) {
    std::size_t end = i + 1;
    while (end < mapped_ && needed_[end] == needed_[end - 1] + 1) end++;
    if (unmap_run(needed_[i], static_cast<std::uint32_t>(end - i)) == Result::ok) {
      for (; i < end; i++) ledger_.note_unmapped(space_, needed_[i]);
      continue;
    }
    for (; i < end; i++) {
      if (unmap_run(needed_[i], 1) == Result::ok)
        ledger_.note_unmapped(space_, needed_[i]);
      else
        table.set_no_access(needed_[i], true);  // quarantined: a conflict for whoever needs the slot next
    }
  }
  mapped_ = 0;
}

void Transaction::commit() {
  SlotTable& table = ledger_.space(space_);
  for (const Home& home : reactivated_) {
    ledger_.activate(home.supply.id, space_, home.slot);
    table.set_ok(home.slot, true);
  }
  for (std::size_t i = 0; i < needed_.size(); i++) {
    ledger_.activate(supplied_[i].id, space_, needed_[i]);
    table.set_ok(needed_[i], true);
  }
}

// False: it was active and is loose.
bool Transaction::give_back(const Supply& supply) {
  if (supply.from == From::idle) {
    SlotTable& table = ledger_.space(supply.space);
    if (table.mapped(supply.slot) == supply.id && !table.no_access(supply.slot)) {
      ledger_.activate(supply.id, supply.space, supply.slot);
      table.set_ok(supply.slot, true);
      return true;
    }
  }
  ledger_.list(supply.id);
  return supply.from != From::idle;
}

std::size_t Transaction::undo() {
  std::size_t loose = 0;
  for (const Home& home : reactivated_)
    if (!give_back(home.supply)) loose++;
  for (const Supply& supply : supplied_)
    if (supply.from != From::created && !give_back(supply)) loose++;
  return loose;
}

std::size_t Transaction::count(From from) const {
  std::size_t count = 0;
  for (const Supply& supply : supplied_) count += supply.from == from ? 1 : 0;
  return count;
}

std::size_t Transaction::loose() const {
  std::size_t homes = 0;
  for (const Home& home : reactivated_) homes += home.supply.from == From::loose ? 1 : 0;
  return homes + count(From::loose);
}

}  // namespace gapless::vmm
