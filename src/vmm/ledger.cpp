// SPDX-License-Identifier: Apache-2.0
#include "vmm/ledger.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace gapless::vmm {

void Ledger::expect_space() {
  if (unused_spaces_.empty() && spaces_.size() == spaces_.capacity()) spaces_.reserve(2 * spaces_.size() + 4);
}

SpaceId Ledger::add_space(SlotTable* table) {
  if (unused_spaces_.empty()) {
    spaces_.push_back(table);
    return static_cast<SpaceId>(spaces_.size() - 1);
  }
  const SpaceId id = unused_spaces_.back();
  unused_spaces_.pop_back();
  spaces_[id] = table;
  return id;
}

void Ledger::remove_space(SpaceId id) {
  spaces_[id] = nullptr;
  unused_spaces_.push_back(id);
}

void Ledger::expect_one() {
  if (unused_.empty() && handles_.size() == handles_.capacity()) handles_.reserve(2 * handles_.size());
  unused_.reserve(handles_.capacity());
  loose_.reserve(handles_.capacity());
}

HandleId Ledger::add(driver::Handle handle) {
  HandleId id;
  if (unused_.empty()) {
    id = static_cast<HandleId>(handles_.size());
    handles_.emplace_back();
  } else {
    id = unused_.back();
    unused_.pop_back();
    handles_[id] = HandleRecord{};
  }
  handles_[id].handle = handle;
  handles_[id].exists = true;
  exist_++;
  return id;
}

void Ledger::drop(HandleId id) {
  HandleRecord& record = handles_[id];
  GAPLESS_CHECK(1, "I3", record.exists && !record.active() && record.mappings == 0 && !record.listed);
  record.exists = false;
  exist_--;
  unused_.push_back(id);
}

void Ledger::activate(HandleId id, SpaceId space, std::uint32_t slot) {
  HandleRecord& record = handles_[id];
  SlotTable& table = *spaces_[space];
  GAPLESS_CHECK(1, "I3", record.exists && !record.active() && !record.listed);
  GAPLESS_CHECK(1, "I2", table.active(slot) == kNoHandle && table.mapped(slot) == id && !table.no_access(slot));
  record.space = space;
  record.slot = slot;
  table.active(slot) = id;
  active_++;
}

void Ledger::deactivate(HandleId id, std::uint32_t stamp) {
  HandleRecord& record = handles_[id];
  GAPLESS_CHECK(1, "I3", record.exists && record.active());
  SlotTable& table = *spaces_[record.space];
  GAPLESS_CHECK(1, "I2", table.active(record.slot) == id && !table.pinned(record.slot));
  table.active(record.slot) = kNoHandle;
  table.last_use(record.slot) = std::max(table.last_use(record.slot), stamp);
  record.space = kNoSpace;
  active_--;
}

void Ledger::note_mapped(HandleId id, SpaceId space, std::uint32_t slot) {
  GAPLESS_CHECK(1, "V1", spaces_[space]->mapped(slot) == kNoHandle);
  spaces_[space]->mapped(slot) = id;
  handles_[id].mappings++;
  mappings_++;
}

void Ledger::note_unmapped(SpaceId space, std::uint32_t slot) {
  SlotTable& table = *spaces_[space];
  const HandleId id = table.mapped(slot);
  GAPLESS_CHECK(1, "V1", id != kNoHandle && table.active(slot) == kNoHandle);
  table.mapped(slot) = kNoHandle;
  table.set_no_access(slot, false);
  handles_[id].mappings--;
  mappings_--;
}

void Ledger::list(HandleId id) {
  GAPLESS_CHECK(1, "I3", handles_[id].exists && !handles_[id].active() && !handles_[id].listed);
  handles_[id].listed = true;
  loose_.push_back(id);
}

HandleId Ledger::unlist_any() {
  if (loose_.empty()) return kNoHandle;
  const HandleId id = loose_.back();
  loose_.pop_back();
  handles_[id].listed = false;
  return id;
}

void Ledger::unlist(HandleId id) {
  // The list is short: handles are loose only between a failed release and the next miss.
  const auto at = std::find(loose_.begin(), loose_.end(), id);
  GAPLESS_CHECK(1, "I3", at != loose_.end());
  *at = loose_.back();
  loose_.pop_back();
  handles_[id].listed = false;
}

void Ledger::validate() {
  std::vector<std::uint32_t> mappings(handles_.size(), 0);
  std::size_t active = 0;
  for (SpaceId id = 0; id < spaces_.size(); id++) {
    if (spaces_[id] == nullptr) continue;
    const SlotTable& table = *spaces_[id];
    for (std::uint32_t slot = 0; slot < table.slots(); slot++) {
      const HandleId at = table.active(slot);
      const HandleId mapped = table.mapped(slot);
      if (mapped != kNoHandle) mappings[mapped]++;
      GAPLESS_CHECK(1, "I2", table.ok(slot) == (at != kNoHandle));
      if (at == kNoHandle) continue;
      active++;
      GAPLESS_CHECK(1, "I2", mapped == at && !table.no_access(slot));
      GAPLESS_CHECK(1, "I3", handles_[at].exists && handles_[at].space == id && handles_[at].slot == slot);
    }
  }
  std::size_t exist = 0;
  std::size_t listed = 0;
  std::size_t in_all = 0;
  for (HandleId id = 1; id < handles_.size(); id++) {
    const HandleRecord& record = handles_[id];
    GAPLESS_CHECK(1, "V1", record.exists ? record.mappings == mappings[id] : mappings[id] == 0);
    in_all += mappings[id];
    if (!record.exists) continue;
    exist++;
    if (record.listed) listed++;
    // Between transactions a handle is active or listed, never held.
    GAPLESS_CHECK(1, "I4", record.active() != record.listed);
  }
  GAPLESS_CHECK(1, "V1", exist == exist_ && listed == loose_.size() && active == active_ && in_all == mappings_);
}

}  // namespace gapless::vmm
