// SPDX-License-Identifier: Apache-2.0
// What must be true of any allocator, by its calls alone: the simplest bookkeeping that can tell a wrong answer from a
// right one. Knows nothing of heaps, handles or streams.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace gapless::testing {

struct Block {
  std::uint64_t address = 0;
  std::uint64_t requested = 0;
  std::uint64_t rounded = 0;
  std::uint64_t end() const { return address + rounded; }
};

class Model {
 public:
  explicit Model(std::uint64_t granule) : granule_(granule) {}

  // What is wrong with this answer to a request, or nothing; a right one is remembered.
  std::optional<std::string> allocated(std::uint32_t slot, const Block& block);
  void freed(std::uint32_t slot);

  const Block* find(std::uint32_t slot) const;
  const std::map<std::uint64_t, Block>& by_address() const { return by_address_; }
  std::uint64_t live_bytes() const { return live_bytes_; }
  std::uint64_t requested_bytes() const { return requested_bytes_; }
  std::uint64_t granule() const { return granule_; }

  // Granules that hold a byte of a live block.
  std::uint64_t live_granules() const;
  // Promise 1 of the design: may a request of `rounded` bytes fail where `capacity` bytes of physical memory can be
  // had? Whole granules are never in the wrong place, so a granule-aligned free place is always reachable.
  bool may_fail(std::uint64_t rounded, std::uint64_t capacity) const;

 private:
  std::uint64_t granule_;
  std::map<std::uint64_t, Block> by_address_;
  std::map<std::uint32_t, std::uint64_t> address_of_;
  std::uint64_t live_bytes_ = 0, requested_bytes_ = 0;
};

}  // namespace gapless::testing
