// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint.hpp"

#include <algorithm>
#include <mutex>

#include "engine/notify.hpp"
#include "engine/pending.hpp"

namespace gapless::engine {

namespace {

template <typename Visit>
void for_each_busy(const BackedHeap& heap, Visit visit) {
  const heap::BlockPool& blocks = heap.heap.pool();
  for (const heap::Span& span : heap.heap.spans())
    for (heap::BlockId id = span.end > span.first ? heap.heap.head_of(span) : heap::kNoBlock; id != heap::kNoBlock;) {
      const heap::BlockId next = blocks[id].next;
      if (!blocks[id].is_free()) visit(id, blocks[id]);
      id = next;
    }
}

// Does the heap hold that layout: its address range is there, and what lies under the blocks is backed?
bool holds(const BackedHeap& heap, const Checkpoint::Layout& layout) {
  for (const Checkpoint::LiveBlock& block : layout.blocks) {
    const bool inside = std::any_of(heap.heap.spans().begin(), heap.heap.spans().end(), [&](const heap::Span& span) {
      return span.first <= block.offset && block.offset + block.size <= span.end;
    });
    if (!inside || !heap.slots.backed(block.offset, block.size)) return false;
  }
  return true;
}

bool any_pending(const PrivatePool& pool) {
  bool pending = false;
  for (const BackedHeap* const heap : pool.heaps)
    for_each_busy(*heap, [&](heap::BlockId, const heap::Block& block) {
      pending = pending || block.state == heap::BlockState::pending;
    });
  return pending;
}

void free_all(DeviceState& state, BackedHeap& heap, Restored& out) {
  std::vector<heap::BlockId> live;
  for_each_busy(heap, [&](heap::BlockId id, const heap::Block&) { live.push_back(id); });
  for (const heap::BlockId id : live) {
    const heap::Block& block = state.blocks[id];
    out.freed.push_back(heap.address_of(id));
    state.counters.on_free(heap.size_class(), block.size, block.requested());
    // What other streams do with it now is the caller's to order: the pool's graphs decide what runs.
    static_cast<void>(take_uses(state, id));
    note_block(state, GAPLESS_EVENT_FREE_REQUESTED, heap, id);
    note_death(state, heap, id);
    note_free_completed(state, heap, id);
    heap.heap.free(id, heap.stream->epoch());
  }
}

}  // namespace

Status take_checkpoint(DeviceState& state, PrivatePools& pools, gapless_pool_id id, Checkpoint& out) {
  const std::lock_guard map(state.map);
  const PrivatePool* const pool = pools.find(id);
  if (pool == nullptr) return base::fail(Status::not_found, "no such pool");
  const std::lock_guard guard(state.fast);
  out.pool = id;
  for (const BackedHeap* const heap : pool->heaps) {
    Checkpoint::Layout layout{heap, {}};
    for_each_busy(*heap, [&](heap::BlockId, const heap::Block& block) {
      if (block.state == heap::BlockState::live)
        layout.blocks.push_back(Checkpoint::LiveBlock{block.offset, block.size, block.requested()});
    });
    out.layouts.push_back(std::move(layout));
  }
  return Status::ok;
}

Status restore_checkpoint(DeviceState& state, PrivatePools& pools, const Checkpoint& checkpoint, Restored& out) {
  const RelaxedCapture relaxed(state.ops);
  const std::lock_guard map(state.map);
  PrivatePool* const pool = pools.find(checkpoint.pool);
  if (pool == nullptr) return base::fail(Status::not_found, "no such pool");
  settle_pending(state, Settle::wait);
  const std::lock_guard guard(state.fast);
  if (any_pending(*pool)) return base::fail(Status::busy, "freed blocks of the pool wait for streams");
  for (const Checkpoint::Layout& layout : checkpoint.layouts) {
    const auto at = std::find(pool->heaps.begin(), pool->heaps.end(), layout.heap);
    if (!layout.blocks.empty() && (at == pool->heaps.end() || !holds(**at, layout)))
      return base::fail(Status::invalid_argument, "the pool's memory no longer holds the checkpoint's layout");
  }
  for (BackedHeap* const heap : pool->heaps) free_all(state, *heap, out);
  for (const Checkpoint::Layout& layout : checkpoint.layouts) {
    if (layout.blocks.empty()) continue;
    BackedHeap& heap = **std::find(pool->heaps.begin(), pool->heaps.end(), layout.heap);
    for (const Checkpoint::LiveBlock& block : layout.blocks) {
      const heap::BlockId id = heap.heap.place_at(heap.heap.block_at(block.offset), block.offset, block.size);
      GAPLESS_CHECK(1, "E4", id != heap::kNoBlock);
      state.blocks[id].set_requested(block.requested);
      state.counters.on_alloc(heap.size_class(), block.size, block.requested);
      note_birth(state, heap, id);
      note_block(state, GAPLESS_EVENT_ALLOC, heap, id);
      out.allocated.push_back(heap.address_of(id));
    }
  }
  return Status::ok;
}

Status live_blocks(DeviceState& state, PrivatePools& pools, gapless_pool_id id, std::vector<std::uint64_t>& out) {
  const std::lock_guard map(state.map);
  const PrivatePool* const pool = pools.find(id);
  if (pool == nullptr) return base::fail(Status::not_found, "no such pool");
  const std::lock_guard guard(state.fast);
  for (const BackedHeap* const heap : pool->heaps)
    for_each_busy(*heap, [&](heap::BlockId block_id, const heap::Block& block) {
      if (block.state == heap::BlockState::live) out.push_back(heap->address_of(block_id));
    });
  std::sort(out.begin(), out.end());
  return Status::ok;
}

}  // namespace gapless::engine
