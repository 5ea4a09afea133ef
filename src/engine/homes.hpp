// SPDX-License-Identifier: Apache-2.0
// Streams and their heaps: found, made, grown and used again.
#pragma once

#include "engine/device_state.hpp"

namespace gapless::engine {

// The home of `handle` for the calling thread, or null. Under the fast lock.
StreamHome* find_home(DeviceState& state, driver::Stream handle);

// The same, but never null: one without heaps if there is none.
GAPLESS_SLOW StreamHome* find_home_or_none(DeviceState& state, driver::Stream handle);

// The same, made if there is none. Under the map lock.
StreamHome& home_of(DeviceState& state, driver::Stream handle);

// An empty heap for (stream, class, pool): one that nobody uses any more, or a new one. `stream` may use what it held.
// Its first span holds `size`. Under the map lock. Null: see base::last_error; `status` says what to return.
BackedHeap* make_heap(DeviceState& state, stream::StreamState& stream, heap::SizeClass size_class, PrivatePool* pool,
                      Units size, Status& status);

// A further span that holds at least `size`. Under the map lock.
Status add_span(DeviceState& state, BackedHeap& heap, Units size);

// An empty heap whose pool or stream is gone: its granules are idle like any others, its addresses wait for a new
// owner. Under map and fast lock.
void retire_heap(DeviceState& state, BackedHeap& heap);

// Where large blocks of each heap go. Between the heaps of several streams granules go to and fro, and what one has
// just freed is the place that it need not take granules for; so it is where streams share a heap, and what its own
// stream freed last needs no wait (docs/adr/0010). Whenever a heap begins or ends to be used. Under map and fast lock.
void choose_places(DeviceState& state);

// The table by handle of all `homes` but one, and its taking the place of the present one. Under the map lock.
std::vector<StreamHome*> table_of_homes(const DeviceState& state, const StreamHome* without);
void use_table(DeviceState& state, std::vector<StreamHome*>& table);

// Orphaned heaps that have become empty wait for new owners; finished streams without heaps are let go. Under the map
// lock.
void reap_orphans(DeviceState& state);

// Unmaps and gives back the addresses of an empty heap. Under the map lock, nobody else may use the device's memory.
void destroy_heap(DeviceState& state, BackedHeap& heap);

}  // namespace gapless::engine
