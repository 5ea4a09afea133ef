// SPDX-License-Identifier: Apache-2.0
#include "engine/snapshot.hpp"

#include <algorithm>
#include <mutex>

#include "engine/private_pools.hpp"

namespace gapless::engine {

namespace {

// The blocks of [from, to), all of it backed and of one span.
void copy_range(const BackedHeap& heap, int device, Units from, Units to, std::vector<SegmentCopy>& out) {
  SegmentCopy copy{};
  copy.view.struct_size = sizeof copy.view;
  copy.view.address = heap.slots.address_of(from);
  copy.view.bytes = (to - from).bytes();
  copy.view.device = device;
  copy.view.is_small = heap.size_class() == heap::SizeClass::small ? 1 : 0;
  copy.view.is_expandable = heap.space != vmm::kNoSpace ? 1 : 0;
  copy.view.stream = heap.stream->handle();
  if (heap.pool != nullptr) copy.view.pool = heap.pool->id;

  Units at = from;
  const auto add = [&](Units end, std::uint64_t requested, gapless_block_state state, std::uint64_t cookie) {
    gapless_block_view block{};
    block.struct_size = sizeof block;
    block.address = heap.slots.address_of(at);
    block.bytes = (end - at).bytes();
    block.requested_bytes = requested;
    block.state = state;
    block.cookie = cookie;
    copy.blocks.push_back(block);
    at = end;
  };
  const heap::BlockPool& blocks = heap.heap.pool();
  for (heap::BlockId id = heap.heap.block_at(from); id != heap::kNoBlock && at < to; id = blocks[id].next) {
    const heap::Block& block = blocks[id];
    const Units end = std::min(Units(block.end()), to);
    const std::uint64_t cookie = (block.flags & heap::kCookie) != 0 ? blocks.note(id).cookie : 0;
    if (block.is_free())
      add(end, 0, GAPLESS_BLOCK_FREE, 0);
    else
      add(end, block.requested(),
          block.state == heap::BlockState::live ? GAPLESS_BLOCK_ALLOCATED : GAPLESS_BLOCK_PENDING_FREE, cookie);
  }
  // The last granule may reach beyond what the heap has tiled so far.
  if (at < to) {
    if (!copy.blocks.empty() && copy.blocks.back().state == GAPLESS_BLOCK_FREE)
      copy.blocks.back().bytes += (to - at).bytes();
    else
      add(to, 0, GAPLESS_BLOCK_FREE, 0);
  }
  out.push_back(std::move(copy));
}

}  // namespace

void copy_segments(DeviceState& state, const gapless_pool_id* pool, std::vector<SegmentCopy>& out) {
  const std::lock_guard map(state.map);
  const std::lock_guard guard(state.fast);
  for (const auto& heap : state.heaps) {
    const gapless_pool_id id = heap->pool != nullptr ? heap->pool->id : gapless_pool_id{0, 0};
    if (pool != nullptr && !same(*pool, id)) continue;
    for (const heap::Span& span : heap->heap.spans()) {
      if (heap->space == vmm::kNoSpace) {
        copy_range(*heap, state.device, span.first, span.limit, out);
        continue;
      }
      const std::uint32_t end = ((span.limit.count() - 1) >> heap->slots.slot_shift()) + 1;
      for (std::uint32_t slot = heap->slots.slot_of(span.first); slot < end;) {
        if (!heap->slots.ok(slot)) {
          slot++;
          continue;
        }
        std::uint32_t stop = slot + 1;
        while (stop < end && heap->slots.ok(stop)) stop++;
        copy_range(*heap, state.device, Units(slot << heap->slots.slot_shift()),
                   Units(stop << heap->slots.slot_shift()), out);
        slot = stop;
      }
    }
  }
}

}  // namespace gapless::engine
