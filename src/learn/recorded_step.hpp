// SPDX-License-Identifier: Apache-2.0
// A step as it is kept: who lived from when to when.
#pragma once

#include <cstdint>
#include <vector>

#include "base/units.hpp"
#include "engine/hooks.hpp"

namespace gapless::learn {

using Life = engine::JournalEntry;

// As the index of a life in its step: there is none.
inline constexpr std::uint32_t kNoLife = ~std::uint32_t{0};

// Blocks that say something of a step: kernels' arguments, scalars and counters are smaller.
inline constexpr std::uint32_t kTellingUnits = 128;  // 64 KiB

// What speaks against a life growing with the batch.
enum class Fixed : std::uint8_t {
  no,       // nothing
  by_half,  // it has half a parameter's: a copy of it, where copies are made at all
  by_size,  // it has a parameter's, which an activation may have by chance
  by_time   // it is there when no activation is
};

struct RecordedStep {
  std::uint64_t units = 0;  // size of the batch
  std::uint64_t number = 0;
  std::uint64_t live_at_start = 0;
  std::uint64_t live_at_end = 0;
  std::uint64_t peak = 0;
  bool cut = false;  // it ended in an OOM: what came later is missing
  std::uint32_t events = 0;
  std::uint64_t resident_threads = 0;  // that the device runs at once; 0: not known
  std::vector<Life> lives;             // in the order of their first event in the step

  std::vector<Fixed> fixed;  // [i]: whether life i grows with the batch

  // What the step added for good: optimizer state, in the first one.
  std::uint64_t growth() const { return live_at_end > live_at_start ? live_at_end - live_at_start : 0; }
};

inline bool is_older(const Life& life) {
  return life.birth == Life::kOlder;
}
inline bool survives(const Life& life) {
  return life.death == Life::kAlive;
}

struct Event {
  std::uint32_t life;
  bool birth;  // else its death
};
// The births and deaths of the step in the order of time. Times at which nothing is known to have happened are left
// out.
std::vector<Event> in_order(const RecordedStep& step);

// A copy of the view.
RecordedStep record(const engine::StepView& view);

}  // namespace gapless::learn
