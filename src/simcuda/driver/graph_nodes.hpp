// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda.h>

#include <cstddef>

namespace gapless::simcuda {

// That many edges without data, in a place that lasts: nothing here makes others.
const CUgraphEdgeData* plain_edges(std::size_t count);

}  // namespace gapless::simcuda
