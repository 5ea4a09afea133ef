// SPDX-License-Identifier: Apache-2.0
// Which large blocks of a marked step lie where their counterpart lay in the last step of the same label. The
// counterpart of a step's n-th block of a size is the n-th of that size: one allocation more or less shifts those of
// its own size only. By one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/journal.hpp"

namespace gapless::engine {

class KeptAddresses {
 public:
  struct Share {
    std::int64_t kept = 0;
    std::int64_t of = 0;  // those that have a counterpart
  };
  // `offsets`: of the entries' blocks in their heaps. Throws std::bad_alloc; then the step is as if it had not been.
  Share step_ended(const char* label, std::span<const JournalEntry> entries, std::span<const std::uint32_t> offsets);

 private:
  static constexpr std::size_t kMostLabels = 8;  // the one that was seen last stays longest
  // A heap is one stream's, so its offsets name places. (Those of its private pools are taken for the same.)
  struct Born {
    std::uint32_t units;
    std::uint32_t stream;
    std::uint32_t offset;
  };
  struct Step {
    char label[GAPLESS_LABEL_BYTES] = {};
    std::vector<Born> born;  // by size, then in the order of birth
    std::uint64_t seen = 0;  // when; 0: never
  };
  Step& step_of(const char* label);

  std::array<Step, kMostLabels> steps_;
  std::uint64_t clock_ = 0;
};

}  // namespace gapless::engine
