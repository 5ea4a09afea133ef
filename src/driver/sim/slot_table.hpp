// SPDX-License-Identifier: Apache-2.0
// Objects behind opaque handles. A handle holds an index and a generation, so a stale or foreign one is recognised
// without ever being dereferenced, and the same program gets the same handles in every run.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

namespace gapless::driver::sim {

template <typename T>
class SlotTable {
 public:
  // `tag` (1 to 15) tells the kinds of handles of one machine apart.
  explicit SlotTable(unsigned tag) : tag_(static_cast<std::uint64_t>(tag) << 40) {}

  std::uint64_t insert(T value) {
    std::uint32_t index;
    if (free_.empty()) {
      index = static_cast<std::uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      index = free_.back();
      free_.pop_back();
    }
    Slot& slot = slots_[index];
    slot.value = std::move(value);
    slot.live = true;
    ++live_;
    return handle_of(index, slot.generation);
  }

  // Null where the handle is not one of this table's live ones.
  T* find(std::uint64_t handle) {
    if ((handle & kTagMask) != tag_) return nullptr;
    const std::uint64_t index = index_of(handle);
    if (index >= slots_.size() || !slots_[index].live || handle_of(index, slots_[index].generation) != handle)
      return nullptr;
    return &slots_[index].value;
  }

  void erase(std::uint64_t handle) {
    const std::uint32_t index = index_of(handle);
    Slot& slot = slots_[index];
    slot.value = T{};
    slot.live = false;
    slot.generation = (slot.generation + 1) & kGenerationMask;
    free_.push_back(index);
    --live_;
  }

  std::size_t size() const { return live_; }

  template <typename F>
  void for_each(F&& f) {
    for (std::uint64_t index = 0; index < slots_.size(); ++index) {
      if (slots_[index].live) f(handle_of(index, slots_[index].generation), slots_[index].value);
    }
  }

 private:
  // High part of the index | tag (4 bits) | generation (14 bits) | low part of the index (22 bits) | 4 zero bits:
  // handles look like aligned pointers, are never 0, 1, 2, and up to four million live ones stay below the device's
  // addresses.
  static constexpr std::uint64_t kLowMask = (1ull << 22) - 1;
  static constexpr std::uint64_t kGenerationMask = (1ull << 14) - 1;
  static constexpr std::uint64_t kTagMask = 15ull << 40;

  struct Slot {
    T value{};
    std::uint64_t generation = 0;
    bool live = false;
  };

  std::uint64_t handle_of(std::uint64_t index, std::uint64_t generation) const {
    return index >> 22 << 44 | tag_ | generation << 26 | (index & kLowMask) << 4;
  }
  // Of any number at all: find() compares the whole handle with the one that the index has.
  static std::uint32_t index_of(std::uint64_t handle) {
    return static_cast<std::uint32_t>((handle >> 44) << 22 | (handle >> 4 & kLowMask));
  }

  std::uint64_t tag_;
  std::deque<Slot> slots_;  // a deque: pointers to values stay valid while others are added
  std::vector<std::uint32_t> free_;
  std::size_t live_ = 0;
};

}  // namespace gapless::driver::sim
