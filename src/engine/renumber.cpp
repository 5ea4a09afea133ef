// SPDX-License-Identifier: Apache-2.0
#include "engine/renumber.hpp"

#include <mutex>
#include <vector>

namespace gapless::engine {

using stream::StreamOrder;

namespace {

// Blocks that are not free keep the stamp of their place, for when a request takes them back unused.
void restamp(DeviceState& state, BackedHeap& heap) {
  for (const heap::Span& span : heap.heap.spans())
    for (heap::BlockId id = span.end > span.first ? heap.heap.head_of(span) : heap::kNoBlock; id != heap::kNoBlock;
         id = state.blocks[id].next)
      state.blocks[id].stamp = StreamOrder::renumbered(*heap.stream, state.blocks[id].stamp);
  for (std::uint32_t slot = 0; slot < heap.slots.slots(); slot++)
    heap.slots.last_use(slot) = StreamOrder::renumbered(*heap.stream, heap.slots.last_use(slot));
}

}  // namespace

void renumber_epochs(DeviceState& state) {
  if (!state.order.worn()) return;
  std::vector<stream::StreamState*> streams;
  for (const auto& stream : state.streams) streams.push_back(stream.get());
  if (state.order.host_wait_all(streams) != driver::Result::ok) return;
  const std::lock_guard guard(state.fast);
  for (const auto& heap : state.heaps) restamp(state, *heap);
  state.group.renumber();
  state.order.restart(streams);
}

}  // namespace gapless::engine
