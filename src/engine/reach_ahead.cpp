// SPDX-License-Identifier: Apache-2.0
// The rest of a hole, mapped in the same two calls as its beginning.
//
// Where granules were taken from a large free block, the next step carves that hole into blocks one after the other,
// from its front, and each would pay an unmap and a set access of its own, which cost forty times what a map does
// (src/tools/replay/cost_model.cpp). So a miss that moves granules also moves some for the slots behind its block. They
// stay idle there and anybody may take them back: the number of idle granules, and with it the promise, is as before.
// Measured in docs/adr/0005.
#include <algorithm>
#include <mutex>

#include "engine/backing.hpp"

namespace gapless::engine {

using vmm::HandleId;
using vmm::kNoHandle;

// After steal() from the heaps that the user's stream is used to: `victims_` lie there.
void Backing::reach_ahead(BackedHeap& heap, Units offset, Units size) {
  const std::uint32_t last = heap.slots.slot_of(offset + size - Units(1));
  // A pool's granules may be pinned one by one; and only a run that goes on saves a call.
  if (heap.pool != nullptr || transaction_.moved() == 0 || transaction_.created() != 0 ||
      transaction_.needed().back() != last)
    return;
  const std::lock_guard guard(state_.fast);
  const heap::BlockPool& blocks = heap.heap.pool();
  const heap::BlockId hole = blocks[heap.heap.block_at(offset)].next;
  if (hole == heap::kNoBlock || !blocks[hole].is_free()) return;
  std::uint32_t low, high;
  heap.heap.whole_slots(hole, low, high);
  if (low != last + 1) return;
  high = std::min({high, heap.slots.slots(), low + kMostAhead});

  // The fast lock was free since the victims were listed: a hit may have landed there, so each is looked at again.
  last_idle_.heap = nullptr;
  std::size_t at = 0;
  std::uint32_t from = 0;
  std::uint32_t last_use = 0;
  const auto next_victim = [&]() -> HandleId {
    // Only from a larger free block: it is the one whose place is needed later.
    for (; at < victims_.size() && victims_[at].size > blocks[hole].size; at++, from = 0) {
      const Victim& victim = victims_[at];
      if (from == 0) from = victim.last;
      while (from > victim.first) {
        const HandleId id = victim.heap->slots.active(--from);
        BackedHeap* owner = nullptr;
        if (id != kNoHandle && idle(id, owner, last_use)) return id;
      }
    }
    return kNoHandle;
  };
  for (std::uint32_t slot = low; slot < high && heap.slots.active(slot) == kNoHandle; slot++) {
    const HandleId mapped = heap.slots.mapped(slot);
    BackedHeap* owner = nullptr;
    std::uint32_t stamp = 0;
    // What comes home for nothing may wait, and for what is not over nobody waits ahead of time.
    if (mapped != kNoHandle &&
        ((state_.ledger[mapped].active() && idle(mapped, owner, stamp)) || state_.ledger[mapped].listed ||
         !known_over(heap, slot, slot, heap.slots.last_use(slot))))
      return;
    const HandleId id = next_victim();
    if (id == kNoHandle) return;
    if (mapped == kNoHandle)
      transaction_.need(slot);
    else
      transaction_.conflict(slot);
    need_edges(*victims_[at].heap, from, last_use);
    transaction_.take_idle(id, last_use);
  }
}

}  // namespace gapless::engine
