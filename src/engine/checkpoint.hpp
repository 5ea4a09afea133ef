// SPDX-License-Identifier: Apache-2.0
// The layout of a private pool at one moment, and going back to it (cudagraph trees).
#pragma once

#include <vector>

#include "engine/private_pools.hpp"

namespace gapless::engine {

struct Checkpoint {
  struct LiveBlock {
    Units offset;
    Units size;
    std::uint64_t requested;
  };
  struct Layout {
    const BackedHeap* heap;
    std::vector<LiveBlock> blocks;  // ascending
  };
  gapless_pool_id pool{};
  std::vector<Layout> layouts;
};

// Errors: NOT_FOUND. Takes both locks.
Status take_checkpoint(DeviceState& state, PrivatePools& pools, gapless_pool_id pool, Checkpoint& out);

struct Restored {
  std::vector<std::uint64_t> freed;
  std::vector<std::uint64_t> allocated;
};
// Errors: NOT_FOUND (no such pool), INVALID_ARGUMENT (its memory no longer holds the layout), BUSY (freed blocks wait
// for streams that cannot be waited for now); nothing has changed then. Takes both locks.
Status restore_checkpoint(DeviceState& state, PrivatePools& pools, const Checkpoint& checkpoint, Restored& out);

// Addresses of the pool's live blocks, ascending. Errors: NOT_FOUND. Takes both locks.
Status live_blocks(DeviceState& state, PrivatePools& pools, gapless_pool_id pool, std::vector<std::uint64_t>& out);

}  // namespace gapless::engine
