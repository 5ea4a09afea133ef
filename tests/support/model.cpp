// SPDX-License-Identifier: Apache-2.0
#include "support/model.hpp"

#include <iterator>

namespace gapless::testing {
namespace {

std::string hex(std::uint64_t value) {
  constexpr const char* digits = "0123456789abcdef";
  std::string text;
  do {
    text.insert(text.begin(), digits[value & 15]);
    value >>= 4;
  } while (value != 0);
  return "0x" + text;
}

std::string name(const Block& block) {
  return "[" + hex(block.address) + ", " + hex(block.end()) + ")";
}

}  // namespace

std::optional<std::string> Model::allocated(std::uint32_t slot, const Block& block) {
  if (block.address % 512 != 0) return name(block) + " is not at a multiple of 512";
  if (block.rounded < block.requested) return name(block) + " is shorter than asked for";
  const auto next = by_address_.lower_bound(block.address);
  if (next != by_address_.end() && next->second.address < block.end()) {
    return name(block) + " overlaps the live block " + name(next->second);
  }
  if (next != by_address_.begin() && std::prev(next)->second.end() > block.address) {
    return name(block) + " overlaps the live block " + name(std::prev(next)->second);
  }
  by_address_.emplace(block.address, block);
  address_of_[slot] = block.address;
  live_bytes_ += block.rounded;
  requested_bytes_ += block.requested;
  return std::nullopt;
}

void Model::freed(std::uint32_t slot) {
  const auto found = address_of_.find(slot);
  if (found == address_of_.end()) return;
  const auto block = by_address_.find(found->second);
  live_bytes_ -= block->second.rounded;
  requested_bytes_ -= block->second.requested;
  by_address_.erase(block);
  address_of_.erase(found);
}

const Block* Model::find(std::uint32_t slot) const {
  const auto found = address_of_.find(slot);
  return found == address_of_.end() ? nullptr : &by_address_.at(found->second);
}

std::uint64_t Model::live_granules() const {
  std::uint64_t count = 0, counted_to = 0;  // granule numbers below counted_to are counted
  for (const auto& [address, block] : by_address_) {
    const std::uint64_t first = std::max(block.address / granule_, counted_to);
    const std::uint64_t last = (block.end() + granule_ - 1) / granule_;
    if (last > first) count += last - first;
    counted_to = std::max(counted_to, last);
  }
  return count;
}

bool Model::may_fail(std::uint64_t rounded, std::uint64_t capacity) const {
  const std::uint64_t needed = (rounded + granule_ - 1) / granule_;
  return live_granules() + needed > capacity / granule_;
}

}  // namespace gapless::testing
