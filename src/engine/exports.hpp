// SPDX-License-Identifier: Apache-2.0
// Blocks whose memory other processes may map: their granules stay where they are while the block lives.
//
// Nobody says when a block stops being shared, so nothing is done when it is freed: the pins of dead blocks are taken
// off when memory is looked for, when it is trimmed and when another block is shared. Until then they keep granules in
// place, which costs nothing.
#pragma once

#include <cstdint>

#include "engine/device_state.hpp"

namespace gapless::engine {

// What another process maps: whole granules, the block somewhere in them.
struct SharedRange {
  std::uint64_t id = 0;  // the same for the same block, of no other one of this device
  ShareKey key{};        // what share_granule asks for besides
  std::uint64_t address = 0;
  std::uint64_t granules = 0;
};

// Pins the granules of the live block that `offset` of `heap` lies in. `fresh`: its key, unless it is shared already.
// Errors: UNKNOWN_POINTER, UNSUPPORTED (a pool's source gave the memory, or the device has no shareable handles). Under
// the map lock.
Status share_block(DeviceState& state, BackedHeap& heap, Units offset, const ShareKey& fresh, SharedRange& out);

// A descriptor of the memory of one granule of what share_block gave; the caller closes it. Errors: NOT_FOUND (the
// block is dead, or the key is not its), DRIVER. Under the map lock.
Status share_granule(DeviceState& state, std::uint64_t id, const ShareKey& key, std::uint64_t granule, int& descriptor);

// Takes the pins of dead blocks off. Under the map lock.
void reap_exports(DeviceState& state);
// The heap's addresses go away.
void forget_exports(DeviceState& state, BackedHeap& heap);
// Is the slot pinned for another process? Under the map lock.
bool is_exported(const DeviceState& state, const BackedHeap& heap, std::uint32_t slot);

}  // namespace gapless::engine
