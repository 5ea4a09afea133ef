// SPDX-License-Identifier: Apache-2.0
// Sums over rows: the gradient of a bias, of a norm's weight. They are where a line in the batch fails: from 1024 rows
// on such a sum takes a buffer for its partial results, which grows with the rows until there is a part for each block
// of threads that the device runs at once, and for fewer rows it takes none. The buffer dies with the call, and in a
// backward pass at full batch it is often the peak.
//
// Source: PyTorch 2.11, ATen/native/cuda/Reduce.cuh, setReduceConfig(). Columns are summed by blocks of 128 threads
// that have 128 columns and 4 bytes of result for each of both: 64 KiB a block.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "learn/recorded_step.hpp"

namespace gapless::learn {

struct RowSum {
  std::uint32_t result = kNoLife;  // what it writes
  std::uint32_t buffer = kNoLife;  // kNoLife: this step had too few rows
  std::uint32_t input = kNoLife;   // what it reads; set by find_inputs
  double times = 0.0;              // its buffer's bytes by its input's; 0: not seen, or not for what more rows take
  // Large blocks born last before the result that are still there: the input is one of them.
  std::array<std::uint32_t, 4> before{kNoLife, kNoLife, kNoLife, kNoLife};
};

// The sums of the step, known by what they leave in the journal: a large block is born (the weight's gradient), then a
// small one (the bias's), then either a buffer and a counter that die at once, or something dies (the input).
std::vector<RowSum> row_sums(const RecordedStep& step);

// Sets the inputs: of those before that grow with the batch the one of as many rows as most sums have. Sums without any
// are removed, and those that took no buffer although they have the rows for one. `grows[i]`: life i does.
void find_inputs(const RecordedStep& step, const std::vector<char>& grows, std::vector<RowSum>& sums);

// What the buffers of a step take at other batches.
class SumBuffers {
 public:
  SumBuffers() = default;
  // Notes in the sums what was seen of them.
  SumBuffers(const RecordedStep& step, std::vector<RowSum>& sums);

  // Bytes of the buffer of `sum` where its input has `input` bytes and its result `result`. 0: it takes none.
  double of(const RowSum& sum, double input, double result) const;

 private:
  double most_ = 0.0;   // where each block of threads has one part; 0: not known
  double times_ = 4.0;  // the input's bytes: four of 16 bits, two of 32
};

}  // namespace gapless::learn
