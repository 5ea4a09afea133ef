// SPDX-License-Identifier: Apache-2.0
// A heap and what lies behind it, as the engine keeps them: one for each (stream, class, pool).
#pragma once

#include <vector>

#include "heap/heap.hpp"
#include "stream/stream_order.hpp"
#include "vmm/address_map.hpp"
#include "vmm/address_space.hpp"
#include "vmm/ledger.hpp"
#include "vmm/slot_table.hpp"

namespace gapless::engine {

class DeviceAllocator;
struct PrivatePool;
class StreamGroup;

// Records live as long as their device: threads may look at one that is being recycled, and ask it again under its
// lock.
struct BackedHeap : vmm::RegionOwner {
  BackedHeap(DeviceAllocator& owner, heap::BlockPool& blocks, heap::SizeClass size_class, unsigned slot_shift,
             Units capacity, unsigned chunk_shift)
      : device(owner), heap(blocks, size_class, slot_shift, capacity), slots(slot_shift, capacity, chunk_shift) {}

  DeviceAllocator& device;
  heap::Heap heap;
  vmm::SlotTable slots;
  vmm::SpaceId space = vmm::kNoSpace;     // kNoSpace: segments of a source, which never move
  stream::StreamState* stream = nullptr;  // of a shared heap: the stream that made it, for reports only
  StreamGroup* group = nullptr;           // the streams that share it; null: it is `stream`'s alone
  PrivatePool* pool = nullptr;            // null: the default pool
  bool orphan = false;                    // its stream is finished: it is spare once it is empty
  bool spare = false;                     // empty, and nobody's: in DeviceState::spare
  std::uint64_t last_miss = 0;            // of the device's misses; the least recently used heap is recycled first

  struct Part {
    vmm::Reservation reservation;
    vmm::Region* region;
  };
  std::vector<Part> parts;

  heap::SizeClass size_class() const { return heap.size_class(); }
  // Do granules and blocks go to and fro between it and others of its class? Not those of a pool, nor what a source
  // gave; and nobody may have a block of a spare one.
  bool trades() const { return pool == nullptr && space != vmm::kNoSpace && !spare; }
  std::uint64_t address_of(heap::BlockId id) const { return slots.address_of(heap.pool()[id].offset); }
};

// Where the default pool's blocks of one stream go. Found by the stream's handle on every allocation.
struct StreamHome {
  driver::Stream handle = nullptr;
  std::uint64_t thread = 0;  // of a per-thread default stream
  stream::StreamState* stream = nullptr;
  BackedHeap* heaps[2] = {nullptr, nullptr};  // by class; none for large blocks while they are shared
  BackedHeap* aside = nullptr;                // its own heap for large blocks, while they are shared
  bool shares = false;
  heap::MemberId member = heap::kNoMember;  // of the device's group
};

}  // namespace gapless::engine
