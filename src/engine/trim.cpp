// SPDX-License-Identifier: Apache-2.0
#include "engine/trim.hpp"

#include <algorithm>
#include <mutex>

#include "driver/failed.hpp"
#include "engine/exports.hpp"
#include "engine/homes.hpp"
#include "engine/notify.hpp"
#include "engine/oom.hpp"
#include "engine/pending.hpp"
#include "engine/segments.hpp"
#include "vmm/unmap.hpp"

namespace gapless::engine {

using driver::Result;
using vmm::HandleId;
using vmm::kNoHandle;

namespace {

// Takes idle handles of the heap out of use, at most `count`: they are loose and listed, their mappings dormant.
std::size_t idle_to_loose(DeviceState& state, BackedHeap& heap, std::size_t count) {
  const std::lock_guard guard(state.fast);
  std::size_t taken = 0;
  const heap::Bins& bins = heap.heap.bins();
  for (std::uint32_t bin = bins.next(0); bin != heap::Bins::kNone && taken < count; bin = bins.next(bin + 1))
    for (heap::BlockId id = bins.head(bin); id != heap::kNoBlock && taken < count; id = heap.heap.pool()[id].bin_next) {
      std::uint32_t first, last;
      heap.heap.whole_slots(id, first, last);
      last = std::min(last, heap.slots.slots());
      if (first >= last || !known_over(heap, first, last - 1, heap.heap.pool()[id].stamp)) continue;
      for (std::uint32_t slot = last; slot-- > first && taken < count;) {
        const HandleId handle = heap.slots.active(slot);
        if (handle == kNoHandle || heap.slots.pinned(slot)) continue;
        heap.slots.set_ok(slot, false);
        state.ledger.deactivate(handle, heap.heap.pool()[id].stamp);
        state.ledger.list(handle);
        state.counters.on_reserved_moved(heap.size_class(), heap::SizeClass::large,
                                         static_cast<std::int64_t>(state.granule));
        note_event(state, GAPLESS_EVENT_SEGMENT_UNMAP, heap, heap.slots.slot_address(slot), state.granule, 0);
        taken++;
      }
    }
  return taken;
}

// Unmaps every mapping of a loose handle, in runs. A run that the driver refuses is left for later.
Status unmap_loose(DeviceState& state) {
  std::uint64_t calls = 0;
  Result failure = Result::ok;
  for (const auto& heap : state.heaps) {
    if (heap->space == vmm::kNoSpace) continue;
    const auto goes = [&](std::uint32_t slot) {
      const HandleId id = heap->slots.mapped(slot);
      return id != kNoHandle && state.ledger[id].listed && known_over(*heap, slot, slot, heap->slots.last_use(slot));
    };
    for (std::uint32_t slot = 0; slot < heap->slots.slots();) {
      if (!goes(slot)) {
        slot++;
        continue;
      }
      std::uint32_t end = slot + 1;
      while (end < heap->slots.slots() && goes(end) &&
             heap->slots.slot_address(end) == heap->slots.slot_address(end - 1) + state.granule)
        end++;
      const Result result =
          vmm::unmap_slots(state.ledger, state.ops, heap->space, slot, end - slot, state.granule, calls);
      if (result != Result::ok) failure = result;
      slot = end;
    }
  }
  if (failure == Result::ok) return Status::ok;
  return driver::failed(state.ops, "cuMemUnmap", failure);
}

Status release_loose(DeviceState& state, std::uint64_t& released) {
  std::vector<HandleId> kept;
  Result failure = Result::ok;
  for (HandleId id = state.ledger.unlist_any(); id != kNoHandle; id = state.ledger.unlist_any()) {
    if (state.ledger[id].mappings > 0) {
      kept.push_back(id);
      continue;
    }
    if (const Result result = state.ops.release(state.ledger[id].handle); result != Result::ok) {
      failure = result;
      kept.push_back(id);
      continue;
    }
    state.ledger.drop(id);
    released += state.granule;
    const std::lock_guard guard(state.fast);
    state.physical -= state.granule;
    state.counters.releases++;
    state.counters.on_reserved(heap::SizeClass::large, -static_cast<std::int64_t>(state.granule));
  }
  for (const HandleId id : kept) state.ledger.list(id);
  if (failure == Result::ok) return Status::ok;
  return driver::failed(state.ops, "cuMemRelease", failure);
}

}  // namespace

void list_ready(DeviceState& state) {
  state.creator.pause();
  for (driver::Handle handle = 0;;) {
    state.ledger.expect_one();
    if (!state.creator.take(handle)) break;
    state.ledger.list(state.ledger.add(handle));
  }
}

Status trim(DeviceState& state, PrivatePools& pools, PrivatePool* pool, std::uint64_t keep, std::uint64_t& released) {
  released = 0;
  // What was made ahead goes first.
  list_ready(state);
  Result settling = Result::ok;
  settle_pending(state, Settle::wait, &settling);
  // Memory goes back to the device only when nothing uses it any more: what cannot be waited for now is left.
  const Status waited = wait_for_everything(state);
  reap_orphans(state);
  reap_exports(state);
  // With its last block a pool without uses goes; what it had is spare then.
  const gapless_pool_id id = pool != nullptr ? pool->id : gapless_pool_id{};
  pools.reap();
  const bool gone = pool != nullptr && (pool = pools.find(id)) == nullptr;
  if (pool != nullptr && pool->has_source) {
    released = release_empty_segments(state, *pool);
    return Status::ok;
  }
  std::uint64_t physical;
  {
    const std::lock_guard guard(state.fast);
    physical = state.physical;
  }
  const std::uint64_t surplus = physical > keep ? (physical - keep + state.granule - 1) / state.granule : 0;
  std::size_t wanted = surplus > state.ledger.loose() ? static_cast<std::size_t>(surplus - state.ledger.loose()) : 0;
  for (const auto& heap : state.heaps)
    if (heap->space != vmm::kNoSpace && heap->pool == pool && (heap->spare || !gone) && wanted > 0)
      wanted -= idle_to_loose(state, *heap, wanted);
  const Status unmapped = unmap_loose(state);
  const Status given = release_loose(state, released);
  if (unmapped != Status::ok) return unmapped;
  if (given != Status::ok) return given;
  if (settling != Result::ok)
    return driver::failed(state.ops, "waiting for the streams that used freed blocks", settling);
  // Memory that a capture keeps is not idle; memory that the driver would not wait for may be.
  return waited == Status::in_capture ? Status::ok : waited;
}

}  // namespace gapless::engine
