// SPDX-License-Identifier: Apache-2.0
// Steps of real models at several batches, recorded by bench/record_steps, as the learner sees them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "learn/recorded_step.hpp"
#include "tools/trace.hpp"

namespace gapless::learn {

class RecordedModel {
 public:
  // `folder`/`name`.trace.gz and its lines of `folder`/peaks.tsv. Throws when they cannot be read.
  RecordedModel(const std::string& folder, const std::string& name);

  // The step of `units`, as far as it comes with at most `capacity` bytes live.
  RecordedStep step(std::uint64_t units, std::uint64_t capacity = ~std::uint64_t{0}) const;
  // Of live bytes, by trying; from 1 to most_tried().
  std::uint64_t peak(std::uint64_t units) const { return peaks_.at(units); }
  std::uint64_t most_tried() const { return peaks_.rbegin()->first; }

 private:
  struct Mark {
    std::size_t begin = 0;                // index of the first op after it
    std::uint64_t live = 0;               // bytes
    std::vector<std::uint32_t> in_slots;  // sizes of what lives, in units of 512 B; 0: nothing
  };

  tools::Trace trace_;
  std::map<std::uint64_t, Mark> marks_;  // by the batch
  std::shared_ptr<const std::vector<std::uint32_t>> lasting_;
  std::map<std::uint64_t, std::uint64_t> peaks_;
};

}  // namespace gapless::learn
