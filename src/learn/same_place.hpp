// SPDX-License-Identifier: Apache-2.0
// How what nobody saw at a larger batch probably grows: as what had the same place elsewhere. A model is layers, and
// the first ones were seen.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "learn/recorded_step.hpp"

namespace gapless::learn {

inline constexpr std::uint32_t kNotSeen = ~std::uint32_t{0};

struct Likely {
  bool grows;
  double units;  // its size in the larger step
};

class SamePlace {
 public:
  // `there[i]`: the size, in units, of life i of `step` in the larger one, or kNotSeen.
  SamePlace(const RecordedStep& step, const std::vector<std::uint32_t>& there);

  // Of a life that was not seen. Nothing: nothing of its size was.
  std::optional<Likely> of(std::uint32_t life) const;

 private:
  // Neighbours of a life that a place is told by: births before it and after it.
  struct Width {
    int before, after;
  };
  static constexpr Width kWidths[] = {{4, 4}, {2, 2}, {1, 1}, {1, 0}, {0, 0}};  // the strictest first
  struct Votes {
    std::uint32_t fixed = 0;
    std::uint32_t growing = 0;
    std::uint32_t units = 0;  // in the larger step, of one that grew
  };
  std::uint64_t place(std::size_t at, std::size_t width) const;

  std::vector<std::uint32_t> sizes_;                          // of births, in their order
  std::vector<std::size_t> order_;                            // [life]: of its birth; of one that is older, nowhere
  std::unordered_map<std::uint32_t, std::uint32_t> of_size_;  // how many lives have it
  std::unordered_map<std::uint64_t, Votes> by_place_;         // of all widths: the key has it
};

}  // namespace gapless::learn
