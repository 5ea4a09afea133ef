// SPDX-License-Identifier: Apache-2.0
// A copy of what is where, taken at one moment.
#pragma once

#include <vector>

#include "engine/device_state.hpp"

namespace gapless::engine {

// A contiguous backed range and the blocks that tile it. A free block that reaches beyond the range is cut at its
// border.
struct SegmentCopy {
  gapless_segment_view view;
  std::vector<gapless_block_view> blocks;
};

// Segments of the device, of `pool` only if it is not null ((0, 0): of the default pool), in no order. Takes both
// locks.
void copy_segments(DeviceState& state, const gapless_pool_id* pool, std::vector<SegmentCopy>& out);

}  // namespace gapless::engine
