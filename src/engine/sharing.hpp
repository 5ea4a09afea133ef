// SPDX-License-Identifier: Apache-2.0
// The option stream_sharing: when streams share a heap for their large blocks, and what that makes of an allocation
// and of a free.
#pragma once

#include "engine/device_state.hpp"
#include "engine/stream_group.hpp"

namespace gapless::engine {

// From now on large blocks of all streams go into one heap, or each into its stream's own again. Blocks stay where they
// are. Under the map lock.
void share_streams(DeviceState& state, bool on);

// Does so when the option says auto and the streams' traffic asks for it. Under the map lock.
void consider_sharing(DeviceState& state);

// Makes the stream of `home` a member, and the shared heap with the first. False: it cannot be one (the group is full,
// or the stream is one thread's own default stream, which no other thread can order, or there are no addresses for the
// heap), and has a heap of its own from now on. Under the map lock.
bool enter_group(DeviceState& state, StreamHome& home, Units size);

// Orders the member's stream after all other members' uses of the active slots under the block. False: not possible
// now, nothing is known to be ordered. Under the map lock.
bool order_for_member(DeviceState& state, const BackedHeap& heap, heap::BlockId block, heap::MemberId member);

// Is the block backed, and may `home` have it without another word to the driver? Under the fast lock.
bool ready(const BackedHeap& heap, heap::BlockId block, const StreamHome& home);

// A block of a shared heap is handed out to the stream. Under the fast lock.
void hand_out(BackedHeap& heap, heap::BlockId block, heap::MemberId member);

// Frees a live or pending block, for whoever may use the heap's memory next. Under the fast lock.
void release_block(BackedHeap& heap, heap::BlockId block);

// Streams that were recorded on a block of a shared heap and are members need not be waited for: they are noted. False:
// some are none. Under the fast lock.
bool note_member_uses(const DeviceState& state, BackedHeap& heap, heap::BlockId block);

// Finished members that nothing depends on any more leave the group. Under the map lock.
void reap_members(DeviceState& state);

}  // namespace gapless::engine
