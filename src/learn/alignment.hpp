// SPDX-License-Identifier: Apache-2.0
// Which allocation of one step is which of another. Steps of different batches differ in more than sizes: other kernels
// run, workspaces come and go. So it is a diff of the two sequences, not an index.
#pragma once

#include <cstdint>
#include <vector>

#include "learn/recorded_step.hpp"

namespace gapless::learn {

// For each life of `large` the life of `small` that it corresponds to, in ascending order, or kNoLife. `small` has
// fewer units. Lives correspond when they are of one stream and one kind (older than the step, dying in it, outliving
// it) and their sizes may lie on one line: not smaller in the larger step, and at most in proportion to the units.
// Time: the lengths times the number of differences, which is bounded.
std::vector<std::uint32_t> align(const RecordedStep& small, const RecordedStep& large);
// Where `large` is larger in its shape, by a factor that nobody knows (longer texts), and its units say nothing.
std::vector<std::uint32_t> align_shapes(const RecordedStep& small, const RecordedStep& large);

}  // namespace gapless::learn
