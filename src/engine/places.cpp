// SPDX-License-Identifier: Apache-2.0
#include "engine/places.hpp"

#include <algorithm>
#include <mutex>

namespace gapless::engine {

namespace {

constexpr Place kNoPlace{Units(), 0, heap::kNoBlock};

std::uint32_t overlap(std::uint32_t first, std::uint32_t last, std::uint32_t low, std::uint32_t high) {
  const std::uint32_t from = std::max(first, low);
  const std::uint32_t to = std::min(last, high);
  return to > from ? to - from : 0;
}

// Slots of [offset, offset + size) that lie in the whole slots [low, high) of its free block.
std::uint32_t granules_of(const heap::Heap& heap, Units offset, Units size, std::uint32_t low, std::uint32_t high) {
  const std::uint32_t first = offset.count() >> heap.slot_shift();
  const std::uint32_t last = ((offset.count() + size.count() - 1) >> heap.slot_shift()) + 1;
  return overlap(first, last, low, high);
}

template <typename Visit>
void for_each_free(const heap::Heap& heap, std::uint32_t from_bin, Visit visit) {
  const heap::Bins& bins = heap.bins();
  for (std::uint32_t bin = bins.next(from_bin); bin != heap::Bins::kNone; bin = bins.next(bin + 1))
    for (heap::BlockId id = bins.head(bin); id != heap::kNoBlock; id = heap.pool()[id].bin_next) visit(id);
}

// The first whole slot at the heap's end: shared with the last block unless that ends at a slot's border.
std::uint32_t first_slot_at_end(const heap::Heap& heap, Units offset) {
  std::uint32_t low = (offset.count() + heap.slot_units().count() - 1) >> heap.slot_shift();
  const heap::BlockId last = heap.spans().back().last;
  if (last != heap::kNoBlock && heap.pool()[last].is_free()) {
    std::uint32_t high;
    heap.whole_slots(last, low, high);
  }
  return low;
}

}  // namespace

std::vector<Place> places_for(const heap::Heap& heap, Units size) {
  std::vector<Place> places;
  for_each_free(heap, heap::Bins::bin_of(size), [&](heap::BlockId id) {
    const heap::Block& block = heap.pool()[id];
    if (block.size < size) return;
    std::uint32_t low, high;
    heap.whole_slots(id, low, high);
    const Units high_end = block.offset + block.size - size;
    places.push_back(Place{block.offset, granules_of(heap, block.offset, size, low, high), id});
    if (high_end != block.offset) places.push_back(Place{high_end, granules_of(heap, high_end, size, low, high), id});
  });
  Units offset;
  if (heap.end_place(size, offset)) {
    const std::uint32_t low = first_slot_at_end(heap, offset);
    places.push_back(Place{offset, granules_of(heap, offset, size, low, ~0u), heap::kNoBlock});
  }
  std::stable_sort(places.begin(), places.end(),
                   [](const Place& a, const Place& b) { return a.granules < b.granules; });
  if (places.size() > kMostPlaces) places.resize(kMostPlaces);
  return places;
}

Place backed_end(const BackedHeap& heap, Units size) {
  Place best = kNoPlace;
  Units best_size(~0u);
  const heap::Bins& bins = heap.heap.bins();
  std::size_t left = kMostHoles;
  // Bins ascend by size: the first that has such a place has the smallest block of all.
  for (std::uint32_t bin = bins.next(heap::Bins::bin_of(size)); bin != heap::Bins::kNone; bin = bins.next(bin + 1)) {
    for (heap::BlockId id = bins.head(bin); id != heap::kNoBlock && left > 0;
         id = heap.heap.pool()[id].bin_next, left--) {
      const heap::Block& block = heap.heap.pool()[id];
      if (block.size < size || !(block.size < best_size)) continue;
      for (const Units offset : {block.offset, block.offset + block.size - size}) {
        if (!heap.slots.backed(offset, size)) continue;
        best = {offset, 0, id};
        best_size = block.size;
        break;
      }
    }
    if (best.free_block != heap::kNoBlock || left == 0) break;
  }
  return best;
}

Place backed_middle(const BackedHeap& heap, Units size) {
  const std::uint32_t slot_units = heap.heap.slot_units().count();
  const std::uint32_t needed = (size.count() - 1) / slot_units + 1;
  const heap::Bins& bins = heap.heap.bins();
  std::size_t slots_left = kMostSlots, holes_left = kMostHoles;
  for (std::uint32_t bin = bins.next(heap::Bins::bin_of(size)); bin != heap::Bins::kNone; bin = bins.next(bin + 1)) {
    for (heap::BlockId id = bins.head(bin); id != heap::kNoBlock; id = heap.heap.pool()[id].bin_next) {
      if (holes_left-- == 0) return kNoPlace;
      std::uint32_t low, high;
      heap.heap.whole_slots(id, low, high);
      high = std::min(high, heap.slots.slots());
      if (high < low + needed) continue;
      // A span's last block owns the whole slot that it ends in.
      const std::uint32_t end = heap.heap.pool()[id].end();
      for (std::uint32_t slot = low, run = 0; slot < high; slot++) {
        if (slots_left-- == 0) return kNoPlace;
        run = heap.slots.ok(slot) ? run + 1 : 0;
        const Units first((slot + 1 - run) * slot_units);
        if (run >= needed && first.count() + size.count() <= end) return {first, 0, id};
      }
    }
  }
  return kNoPlace;
}

heap::BlockId take_place(heap::Heap& heap, const Place& place, Units size) {
  if (place.free_block == heap::kNoBlock) {
    Units offset;
    return heap.end_place(size, offset) && offset == place.offset ? heap.place_at_end(size) : heap::kNoBlock;
  }
  const heap::BlockId id = heap.block_at(place.offset);
  if (id == heap::kNoBlock || !heap.pool()[id].is_free() || heap.pool()[id].end() < place.offset.count() + size.count())
    return heap::kNoBlock;
  return heap.place_at(id, place.offset, size);
}

std::uint64_t largest_free(const heap::Heap& heap) {
  std::uint64_t most = 0;
  for_each_free(heap, 0, [&](heap::BlockId id) { most = std::max(most, heap.pool()[id].size.bytes()); });
  return most;
}

std::uint64_t largest_place(const heap::Heap& heap, std::uint64_t granules) {
  const std::uint64_t slot_bytes = heap.slot_units().bytes();
  std::uint64_t most = 0;
  for_each_free(heap, 0, [&](heap::BlockId id) {
    const heap::Block& block = heap.pool()[id];
    std::uint32_t low, high;
    heap.whole_slots(id, low, high);
    if (high - low <= granules) {
      most = std::max(most, block.size.bytes());
      return;
    }
    // One partly used slot at the front or at the end comes on top of the granules.
    const std::uint64_t begin = block.offset.bytes();
    const std::uint64_t end = std::uint64_t{block.end()} << kUnitShift;
    const std::uint64_t at_front = low * slot_bytes - begin;
    const std::uint64_t at_end = end > high * slot_bytes ? end - high * slot_bytes : 0;
    most = std::max(most, std::max(at_front, at_end) + granules * slot_bytes);
  });
  if (!heap.spans().empty()) {
    Units offset;
    if (heap.end_place(Units(1), offset)) {
      const std::uint64_t low = std::uint64_t{first_slot_at_end(heap, offset)} * slot_bytes;
      const std::uint64_t room = heap.spans().back().limit.bytes() - offset.bytes();
      const std::uint64_t shared = low > offset.bytes() ? low - offset.bytes() : 0;
      // Beyond this span the heap grows by another, whose slots are all its own.
      most = std::max(most, std::max(std::min(shared + granules * slot_bytes, room), granules * slot_bytes));
    }
  }
  return most;
}

IdleBytes idle_bytes(DeviceState& state, bool only_complete) {
  IdleBytes idle;
  for (const auto& heap : state.heaps) {
    if (heap->space == vmm::kNoSpace) continue;
    for_each_free(heap->heap, 0, [&](heap::BlockId id) {
      std::uint32_t low, high;
      heap->heap.whole_slots(id, low, high);
      high = std::min(high, heap->slots.slots());
      if (low >= high || (only_complete && !known_over(*heap, low, high - 1, heap->heap.pool()[id].stamp))) return;
      for (std::uint32_t slot = low; slot < high; slot++)
        if (heap->slots.ok(slot)) (heap->slots.pinned(slot) ? idle.pinned : idle.free) += state.granule;
    });
  }
  return idle;
}

SplitBytes split_bytes(DeviceState& state) {
  SplitBytes split;
  for (const auto& heap : state.heaps) {
    const auto size_class = static_cast<std::size_t>(heap->size_class());
    const std::uint64_t slot_bytes = heap->heap.slot_units().bytes();
    for_each_free(heap->heap, 0, [&](heap::BlockId id) {
      const heap::Block& block = heap->heap.pool()[id];
      std::uint64_t bytes = 0;
      if (heap->space == vmm::kNoSpace) {
        bytes = heap->heap.is_whole_span(id) ? 0 : block.size.bytes();
      } else {
        std::uint32_t low, high;
        heap->heap.whole_slots(id, low, high);
        const std::uint64_t begin = block.offset.bytes();
        const std::uint64_t end = std::uint64_t{block.end()} << kUnitShift;
        const auto count = [&](std::uint64_t slot) {
          if (slot >= low && slot < high) return;
          if (heap->slots.ok(static_cast<std::uint32_t>(slot)))
            bytes += std::min(end, (slot + 1) * slot_bytes) - std::max(begin, slot * slot_bytes);
        };
        count(begin / slot_bytes);
        if ((end - 1) / slot_bytes != begin / slot_bytes) count((end - 1) / slot_bytes);
      }
      split.bytes[size_class] += static_cast<std::int64_t>(bytes);
      split.blocks[size_class] += bytes > 0 ? 1 : 0;
    });
  }
  return split;
}

std::uint64_t obtainable_granules(DeviceState& state, bool only_complete) {
  driver::MemoryInfo memory;
  const bool known = state.ops.memory_info(state.device, memory) == driver::Result::ok;
  const std::lock_guard guard(state.fast);
  const std::uint64_t limit_room = state.limit > state.physical ? state.limit - state.physical : 0;
  const std::uint64_t room = known ? std::min<std::uint64_t>(limit_room, memory.free_bytes) : limit_room;
  return idle_bytes(state, only_complete).free / state.granule + state.ledger.loose() + state.creator.handles() +
         room / state.granule;
}

}  // namespace gapless::engine
