// SPDX-License-Identifier: Apache-2.0
// Freed blocks that other streams may still use: their memory becomes free when the events of those streams are
// complete, or, when it is needed sooner, by making the heap's own stream wait for the events.
#pragma once

#include "engine/device_state.hpp"

namespace gapless::engine {

// What a block's other users left, and the room for its place among the pending.
struct Uses {
  std::vector<Use> list;
  std::list<PendingFree> room;
};

// A block with kUsed has just been freed: it is pending in `heap`. Records the events, then either hands
// it back at once (a lent block, ordered by a wait) or queues it. No lock held.
void begin_pending(DeviceState& state, BackedHeap& heap, heap::BlockId block, Uses uses, bool lent);

// Frees what is known to be over, from the front. Any thread, no lock held; one at a time.
void poll_pending(DeviceState& state);

// Notes that `stream` uses the block. Under the fast lock.
void add_use(DeviceState& state, heap::BlockId block, const stream::StreamKey& stream);
// The streams noted, which are forgotten. Under the fast lock.
Uses take_uses(DeviceState& state, heap::BlockId block);

enum class Settle {
  order,  // by wait edges on the heaps' streams; never waits
  wait    // the host waits for what cannot be ordered
};
// Turns pending frees into free blocks. Returns how many. Where the driver refuses a wait, the frees stay pending and
// `failure`, if given, says why. Under the map lock.
std::size_t settle_pending(DeviceState& state, Settle how, driver::Result* failure = nullptr);

}  // namespace gapless::engine
