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
  // Not part of what tells it from others: bytes that the device has moved so far; it never falls.
  std::uint64_t moved;
};

class RecurringMisses {
 public:
  // A miss is met. How often did one at this moment move granules before, as far as is remembered? Counts to 65535.
  unsigned meet(const Moment& moment) {
    Entry& entry = entry_of(moment);
    if (entry.key != low_bits(key_of(moment))) return 0;
    // The block left this place, and all the same more than it is worth was moved before the loop came by again, after
    // however many steps that was.
    if (entry.left && moment.moved - entry.moved_then > kWorth * moment.size.bytes() && entry.in_vain < kAttempts)
      entry.in_vain++;
    entry.left = false;
    entry.moved_then = moment.moved;
    comes_round_ |= entry.times > 0;
    return entry.times;
  }
  // Has a miss come back that had moved granules? Then the program is one whose steps are alike, and a new miss is
  // taken for one that will come back too.
  bool comes_round() const { return comes_round_; }
  // Did more move than it saved when the block stepped aside at this moment, kAttempts times in all? Two layouts that
  // lead to one another would else take turns for ever.
  bool left_in_vain(const Moment& moment) const {
    const std::uint64_t key = key_of(moment);
    const Entry& entry = kept_[place_of(key)];
    return entry.key == low_bits(key) && entry.in_vain == kAttempts;
  }

  // What became of it.
  void moved_granules(const Moment& moment) {
    Entry& entry = renewed(moment);
    entry.left = false;
    if (entry.times < 65535) entry.times++;
  }
  void stepped_aside(const Moment& moment) {
    Entry& entry = renewed(moment);
    entry.left = true;
    entry.moved_then = moment.moved;
  }

 private:
  // A step that converges has tens of misses, one that never will has thousands, which forget one another here.
  static constexpr unsigned kBits = 12;
  // From 2 to 2.5 of a block's size the recorded loops come out alike; below, some move more, and from 3 on one that
  // moves to and fro between two layouts is not stopped (docs/adr/0006).
  static constexpr std::uint64_t kWorth = 2;
  // With one, loops stop short of a layout that is at rest; with three, some reserve more (docs/adr/0006).
  static constexpr std::uint8_t kAttempts = 2;

  struct Entry {
    std::uint64_t moved_then = 0;  // at its last time
    std::uint32_t key = 0;         // the low bits: the high ones are its place
    std::uint16_t times = 0;
    bool left = false;
    std::uint8_t in_vain = 0;  // times that it left and more moved than that was worth
  };

  // Two moments of one key would cost a place that is not the usual one: harmless.
  static std::uint64_t key_of(const Moment& moment) {
    std::uint64_t key = moment.live_bytes;
    for (const std::uint64_t part : {std::uint64_t{moment.size.count()}, std::uint64_t{moment.offset.count()}}) {
      key = (key ^ part) * 0x9e3779b97f4a7c15U;
      key ^= key >> 32;
    }
    return key * 0x9e3779b97f4a7c15U;
  }
  static std::size_t place_of(std::uint64_t key) { return key >> (64 - kBits); }
  static std::uint32_t low_bits(std::uint64_t key) { return static_cast<std::uint32_t>(key); }
  Entry& entry_of(const Moment& moment) { return kept_[place_of(key_of(moment))]; }
  Entry& renewed(const Moment& moment) {
    Entry& entry = entry_of(moment);
    const std::uint32_t key = low_bits(key_of(moment));
    if (entry.key != key) entry = {.key = key};
    return entry;
  }

  std::array<Entry, std::size_t{1} << kBits> kept_{};
  bool comes_round_ = false;
};

}  // namespace gapless::engine
