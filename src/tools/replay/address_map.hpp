// SPDX-License-Identifier: Apache-2.0
// The device's addresses over time as an image: a column is a span of events, a row a span of addresses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tools/replay/png.hpp"

namespace gapless::tools {

class AddressMap {
 public:
  explicit AddressMap(std::size_t events) : events_(events) {}

  void mapping(std::size_t event, std::uint64_t address, std::uint64_t bytes, bool mapped);
  void block(std::size_t event, std::uint64_t address, std::uint64_t bytes, bool live);

  // Bytes of addresses that were mapped at some time.
  std::uint64_t mapped_bytes() const;
  Image draw() const;

 private:
  enum class Layer : std::uint8_t { mapped, live };
  struct Change {
    std::size_t event;
    std::uint64_t address;
    std::uint64_t bytes;
    Layer layer;
    bool added;
  };
  // A stretch of addresses without a hole, and where it starts once the holes between stretches are left out.
  struct Extent {
    std::uint64_t begin, end;
    std::uint64_t offset;
  };

  std::vector<Extent> extents() const;

  std::size_t events_;
  std::vector<Change> changes_;
};

}  // namespace gapless::tools
