// SPDX-License-Identifier: Apache-2.0
#include "engine/segments.hpp"

#include <algorithm>
#include <mutex>

#include "engine/notify.hpp"

namespace gapless::engine {

std::uint64_t segment_bytes(std::uint64_t block_bytes, std::uint64_t large) {
  if (block_bytes <= heap::kLargestSmall.bytes()) return 2 * kMiB;
  return block_bytes < 10 * kMiB ? large : round_up(block_bytes, 2 * kMiB);
}

Status add_segment(DeviceState& state, PrivatePool& pool, stream::StreamState& stream, heap::SizeClass size_class,
                   void* segment, std::uint64_t bytes) {
  BackedHeap* heap = pool.find(stream, size_class);
  if (heap == nullptr) {
    const unsigned slot_shift = state.slot_shift();
    const Units room(static_cast<std::uint32_t>((std::uint64_t{1} << 32) - (std::uint64_t{1} << slot_shift)));
    auto fresh = std::make_unique<BackedHeap>(state.self, state.blocks, size_class, slot_shift, room, slot_shift);
    fresh->stream = &stream;
    fresh->pool = &pool;
    heap = fresh.get();
    state.heaps.reserve(state.heaps.size() + 1);
    pool.heaps.reserve(pool.heaps.size() + 1);
    const std::lock_guard guard(state.fast);
    state.heaps.push_back(std::move(fresh));
    pool.heaps.push_back(heap);
  }
  const auto base = reinterpret_cast<driver::Address>(segment);
  const std::uint64_t end = heap->heap.spans().empty() ? 0 : heap->heap.spans().back().limit.bytes();
  const std::uint64_t from = round_up(end, state.granule);
  const std::uint64_t usable = bytes / kUnitBytes * kUnitBytes;
  if (base % kUnitBytes != 0) return base::fail(Status::out_of_memory, "a segment's address is no multiple of 512");
  if (usable == 0 || from + usable > heap->heap.capacity().bytes())
    return base::fail(Status::out_of_memory, "the pool's segments exceed the address space of a heap");
  const Units first = units_of(from);
  const Units limit = first + units_of(usable);
  heap->parts.reserve(heap->parts.size() + 1);
  vmm::Region* const region = state.shared.addresses->add_segment(base, usable, state.device, heap, first);
  if (region == nullptr)
    return base::fail(Status::out_of_memory, "a segment lies in memory that the allocator has already");
  bool added;
  {
    const std::lock_guard guard(state.fast);
    added = heap->slots.add_span(first, limit, base) && heap->heap.add_full_span(first, limit) != heap::kNoBlock;
    if (added) {
      for (std::uint32_t slot = heap->slots.slot_of(first); slot <= heap->slots.slot_of(limit - Units(1)); slot++)
        heap->slots.set_ok(slot, true);
      state.physical += bytes;
      state.counters.on_reserved(size_class, static_cast<std::int64_t>(bytes));
      state.counters.on_segment(size_class, 1);
      note_event(state, GAPLESS_EVENT_SEGMENT_ALLOC, *heap, base, bytes, 0);
    }
  }
  if (!added) {
    state.shared.addresses->remove_segment(region);
    return base::fail(Status::out_of_memory, "the host has no memory for the tables of another segment");
  }
  heap->parts.push_back(BackedHeap::Part{vmm::Reservation{base, bytes, base, bytes}, region});
  return Status::ok;
}

std::uint64_t release_empty_segments(DeviceState& state, PrivatePool& pool) {
  std::uint64_t released = 0;
  std::vector<BackedHeap*> emptied;
  for (BackedHeap* const heap : pool.heaps) {
    if (heap->space != vmm::kNoSpace) continue;
    for (std::size_t i = heap->parts.size(); i-- > 0;) {
      const BackedHeap::Part part = heap->parts[i];
      const Units first(part.region->first_unit);
      std::uint32_t stamp = 0;
      {
        const std::lock_guard guard(state.fast);
        const heap::BlockId block = heap->heap.block_at(first);
        if (!heap->heap.pool()[block].is_free() || !heap->heap.is_whole_span(block)) continue;
        stamp = heap->heap.pool()[block].stamp;
      }
      if (!state.order.host_wait(*heap->stream, stamp)) continue;
      {
        const std::lock_guard guard(state.fast);
        // A hit may have landed in it while we waited.
        const heap::BlockId block = heap->heap.block_at(first);
        if (!heap->heap.pool()[block].is_free() || !heap->heap.is_whole_span(block) ||
            heap->heap.pool()[block].stamp != stamp)
          continue;
        const Units size = heap->heap.pool()[block].size;
        heap->heap.remove_span(block);
        for (std::uint32_t slot = heap->slots.slot_of(first); slot <= heap->slots.slot_of(first + size - Units(1));
             slot++)
          heap->slots.set_ok(slot, false);
        state.physical -= part.reservation.bytes;
        state.counters.on_reserved(heap->size_class(), -static_cast<std::int64_t>(part.reservation.bytes));
        state.counters.on_segment(heap->size_class(), -1);
        note_event(state, GAPLESS_EVENT_SEGMENT_FREE, *heap, part.reservation.base, part.reservation.bytes, 0);
      }
      state.shared.addresses->remove_segment(part.region);
      state.farewells.push_back(
          Farewell{pool.source, reinterpret_cast<void*>(part.reservation.base), part.reservation.bytes});
      released += part.reservation.bytes;
      heap->parts.erase(heap->parts.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (heap->parts.empty()) emptied.push_back(heap);
  }
  const std::lock_guard guard(state.fast);
  for (BackedHeap* const heap : emptied) {
    std::erase(pool.heaps, heap);
    heap->pool = nullptr;
    std::erase_if(state.heaps, [&](const auto& other) { return other.get() == heap; });
  }
  return released;
}

void say_farewells(DeviceState& state) {
  std::vector<Farewell> farewells;
  {
    const std::lock_guard guard(state.map);
    farewells.swap(state.farewells);
  }
  // Who listens hears of a segment's end before it is gone.
  if (!farewells.empty()) deliver(state);
  for (const Farewell& farewell : farewells) {
    if (farewell.segment != nullptr) {
      if (farewell.source.deallocate != nullptr)
        farewell.source.deallocate(farewell.source.user, state.device, farewell.segment, farewell.bytes);
    } else if (farewell.source.destroy != nullptr) {
      farewell.source.destroy(farewell.source.user);
    }
  }
}

}  // namespace gapless::engine
