// SPDX-License-Identifier: Apache-2.0
// The machine's virtual addresses: first fit from the bottom, so that equal programs see equal addresses.
#pragma once

#include <cstdint>
#include <map>

#include "driver/driver.hpp"

namespace gapless::driver::sim {

class AddressSpace {
 public:
  AddressSpace(Address base, std::uint64_t bytes) : base_(base), bytes_(bytes) { holes_[base] = bytes; }

  // The lowest place that is aligned (a power of two); 0 where none is.
  Address take(std::uint64_t bytes, std::uint64_t alignment);
  // Exactly [at, at + bytes), where it is free.
  bool take_at(Address at, std::uint64_t bytes);
  void give(Address at, std::uint64_t bytes);

  bool contains(Address address) const { return address - base_ < bytes_; }
  Address base() const { return base_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  using Holes = std::map<Address, std::uint64_t>;
  void carve(Holes::iterator hole, Address at, std::uint64_t bytes);

  Address base_;
  std::uint64_t bytes_;
  Holes holes_;  // start to length; neighbours are always merged
};

}  // namespace gapless::driver::sim
