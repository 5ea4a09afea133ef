// SPDX-License-Identifier: Apache-2.0
// Every place of a heap where a block could lie, and what it would take: the guarantee of docs/invariants.md rests on
// these.
#pragma once

#include <vector>

#include "engine/device_state.hpp"

namespace gapless::engine {

// A place for a block of some size.
struct Place {
  Units offset;
  std::uint32_t granules;    // slots under it that hold no live or pending byte: what it takes of physical memory
  heap::BlockId free_block;  // that holds it now; kNoBlock: at the heap's end
};

// For each free block that fits its front and its high end (a place in between never takes fewer granules), and the
// heap's end; ascending by granules, at most kMostPlaces of them. Under the fast lock.
inline constexpr std::size_t kMostPlaces = 256;
std::vector<Place> places_for(const heap::Heap& heap, Units size);

// The front or the high end of the smallest free block where a block would lie on backed slots alone; kNoBlock: there
// is none among the first kMostHoles that might. Under the fast lock.
inline constexpr std::size_t kMostHoles = 1024;
Place backed_end(const BackedHeap& heap, Units size);

// Backed slots in a row somewhere in a free block, those of smaller bins first; kNoBlock: there are none among the
// first kMostSlots that are looked at, in kMostHoles blocks. Under the fast lock.
inline constexpr std::size_t kMostSlots = 8192;  // 16 GiB at 2 MiB granules
Place backed_middle(const BackedHeap& heap, Units size);

// Takes it, if it is still free: live, not counted. Under the fast lock.
heap::BlockId take_place(heap::Heap& heap, const Place& place, Units size);

// The largest free block, in bytes. Under the fast lock.
std::uint64_t largest_free(const heap::Heap& heap);

// The largest size for which some place takes at most `granules`, in bytes. Under the fast lock.
std::uint64_t largest_place(const heap::Heap& heap, std::uint64_t granules);

// Granules that a request could use: idle, loose, and what the limit and the device let be created. Idle means I4, not
// pinned, and, where the requesting stream captures, known to be complete. Under the map lock.
std::uint64_t obtainable_granules(DeviceState& state, bool only_complete);

// Bytes of active handles under no live or pending block, by whether they are pinned. Under the fast lock.
struct IdleBytes {
  std::uint64_t free = 0;
  std::uint64_t pinned = 0;
};
IdleBytes idle_bytes(DeviceState& state, bool only_complete);

// Free bytes that cannot go back to the device because a live or pending block shares their granule (or their source's
// segment), and the free blocks that hold such bytes; by class. Under the fast lock.
struct SplitBytes {
  std::int64_t bytes[2] = {0, 0};
  std::int64_t blocks[2] = {0, 0};
};
SplitBytes split_bytes(DeviceState& state);

}  // namespace gapless::engine
