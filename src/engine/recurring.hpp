// SPDX-License-Identifier: Apache-2.0
// Misses that come back: a loop of constant shapes whose layout repeats, but touches more places than physical memory
// may back, misses at the same places in every step. docs/adr/0006.
#pragma once

#include <array>
#include <cstdint>

#include "base/units.hpp"

namespace gapless::engine {

// What tells a moment of a loop from others, with or without marks: a step that repeats to the byte has the same live
// bytes when it makes the same request at the same place.
struct Moment {
  std::uint64_t live_bytes;
  Units size;
  Units offset;
};

class RecurringMisses {
 public:
  // How often did a miss at this moment move granules before, as far as is remembered? Counts to 255.
  unsigned times(const Moment& moment) const {
    const std::uint64_t key = key_of(moment);
    const std::uint64_t kept = kept_[key >> (64 - kBits)];
    return ((kept ^ key) & ~kCount) == 0 ? static_cast<unsigned>(kept & kCount) : 0;
  }
  void remember(const Moment& moment) {
    const std::uint64_t key = key_of(moment);
    const std::uint64_t before = times(moment);
    kept_[key >> (64 - kBits)] = (key & ~kCount) | (before < kCount ? before + 1 : before);
  }
  // A miss is met at whose moment granules were moved so often before. Twice tells a loop; after one time only, a
  // layout that still changes would step aside to and fro (docs/adr/0006).
  void met(unsigned times) { comes_round_ = comes_round_ || times >= 2; }
  // The program is one whose steps are alike.
  bool comes_round() const { return comes_round_; }

 private:
  // A step that converges has tens of misses, one that never will has thousands, which forget one another here.
  static constexpr unsigned kBits = 12;
  static constexpr std::uint64_t kCount = 255;  // an entry's low bits

  // Two moments of one key would cost a place that is not the usual one: harmless.
  static std::uint64_t key_of(const Moment& moment) {
    std::uint64_t key = moment.live_bytes;
    for (const std::uint64_t part : {std::uint64_t{moment.size.count()}, std::uint64_t{moment.offset.count()}}) {
      key = (key ^ part) * 0x9e3779b97f4a7c15U;
      key ^= key >> 32;
    }
    return key * 0x9e3779b97f4a7c15U;
  }

  std::array<std::uint64_t, std::size_t{1} << kBits> kept_{};
  bool comes_round_ = false;
};

}  // namespace gapless::engine
