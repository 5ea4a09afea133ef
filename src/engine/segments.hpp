// SPDX-License-Identifier: Apache-2.0
// Pools whose memory comes from a source of the caller's. Such segments are whole from the start and never move.
#pragma once

#include "engine/private_pools.hpp"

namespace gapless::engine {

// What to ask the source for, as PyTorch sizes its segments: small blocks share 2 MiB, those below 10 MiB share
// `large`.
std::uint64_t segment_bytes(std::uint64_t block_bytes, std::uint64_t large);

// Adds a segment to the heap of (pool, stream, class), which is made if there is none. Under the map lock.
Status add_segment(DeviceState& state, PrivatePool& pool, stream::StreamState& stream, heap::SizeClass size_class,
                   void* segment, std::uint64_t bytes);

// Hands the pool's segments that hold no block back to its source, once no lock is held (DeviceState::farewells). Waits
// for their last uses. Returns the bytes. Under the map lock.
std::uint64_t release_empty_segments(DeviceState& state, PrivatePool& pool);

// Makes the waiting calls. No lock held.
void say_farewells(DeviceState& state);

}  // namespace gapless::engine
