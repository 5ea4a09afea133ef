// SPDX-License-Identifier: Apache-2.0
// The smallest device that is safe for a trace.
#pragma once

#include "tools/replay/options.hpp"
#include "tools/trace.hpp"

namespace gapless::tools {

// The lowest multiple of the live peak on the grid from which every higher one completes; 0 when the highest does not.
// Fitting is not monotonic in the capacity (an allocator's choices differ on a larger device), so a bisection would be
// wrong: the grid is walked down from its top to the first size that fails. Throws SetupError.
double min_fit(const Trace& trace, const Options& options, AllocatorKind allocator);

}  // namespace gapless::tools
