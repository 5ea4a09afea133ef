// SPDX-License-Identifier: Apache-2.0
// Where the handles for a block come from: made ahead, made now, or taken from idle places.
#include <algorithm>
#include <mutex>

#include "engine/backing.hpp"
#include "policy/growth.hpp"

namespace gapless::engine {

using driver::Result;
using vmm::HandleId;
using vmm::kNoHandle;

// What was made ahead. It counts as physical already.
void Backing::take_ready(vmm::Transaction& transaction) {
  driver::Handle handle = 0;
  while (transaction.missing() > 0 && state_.creator.take(handle)) {
    transaction.take_loose(state_.ledger.add(handle));
    rungs[kCreated] += state_.granule;
  }
}

void Backing::create(vmm::Transaction& transaction, std::uint64_t bound, Rung rung) {
  for (;; take_ready(transaction)) {
    if (transaction.missing() == 0 || driver_full_) break;
    {
      const std::lock_guard guard(state_.fast);
      if (policy::can_create(state_.physical, bound, state_.granule) == 0) break;
      // Counted first: nobody else may grow into it meanwhile.
      state_.physical += state_.granule;
    }
    // Beyond the slack nothing is made that was not asked for.
    if (rung == kCreated) state_.creator.want(transaction.missing() - 1, bound);
    driver::Handle handle = 0;
    const Result result = state_.ops.create(state_.device, state_.granule, state_.handles, handle);
    if (result != Result::ok) {
      driver_full_ = true;
      if (result != Result::out_of_memory) create_error_ = result;
      const std::lock_guard guard(state_.fast);
      state_.physical -= state_.granule;
      break;
    }
    transaction.take_created(state_.ledger.add(handle));
    rungs[rung] += state_.granule;
    state_.traffic.created++;
    const std::lock_guard guard(state_.fast);
    state_.counters.creates++;
  }
  if (transaction.missing() == 0) return;
  // The one that is being made, too.
  state_.creator.pause();
  take_ready(transaction);
}

void Backing::add_victims(BackedHeap& heap, bool only_complete) {
  const auto consider = [&](heap::BlockId id) {
    const heap::Block& block = heap.heap.pool()[id];
    std::uint32_t first, last;
    heap.heap.whole_slots(id, first, last);
    if (first >= last) return;
    const bool complete = known_over(heap, first, std::min(last, heap.slots.slots()) - 1, block.stamp);
    if (!only_complete || complete)
      victims_.push_back(
          Victim{policy::victim_rank(block.size, complete), &heap, block.size, first, last, block.stamp});
  };
  const heap::Bins& bins = heap.heap.bins();
  for (std::uint32_t bin = bins.next(heap::Bins::bin_of(heap.heap.slot_units())); bin != heap::Bins::kNone;
       bin = bins.next(bin + 1))
    for (heap::BlockId id = bins.head(bin); id != heap::kNoBlock; id = heap.heap.pool()[id].bin_next) consider(id);
  // A span's last block owns the slot that it ends in even where it is shorter than a slot.
  for (const heap::Span& span : heap.heap.spans())
    if (span.last != heap::kNoBlock && heap.heap.pool()[span.last].is_free() &&
        heap.heap.pool()[span.last].size < heap.heap.slot_units())
      consider(span.last);
}

// Taken from first: what lies in heaps that the user's stream is used to. Nothing waits there, or mostly not.
bool Backing::mine(const BackedHeap& candidate, const BackedHeap& heap) const {
  return &candidate == &heap || (candidate.group == nullptr && candidate.stream == user_);
}

void Backing::order_victims(bool others) {
  // On its own stream nothing waits, so completion does not matter there; and a layout that depended on it would never
  // converge.
  const std::uint64_t relevant = others ? ~std::uint64_t{0} : ~std::uint32_t{0};
  std::stable_sort(victims_.begin(), victims_.end(),
                   [&](const Victim& a, const Victim& b) { return (a.rank & relevant) > (b.rank & relevant); });
  if (met_ == 0) return;
  // The granules that came first in that order were missed where they were taken, before this block was free again: in
  // a loop they are so in every step. Those of the highest place and of the smallest block are tried, in turn.
  const bool by_place = met_ % 2 == 1;
  std::stable_sort(victims_.begin(), victims_.end(),
                   [&](const Victim& a, const Victim& b) { return by_place ? a.first > b.first : a.size < b.size; });
}

void Backing::steal(vmm::Transaction& transaction, BackedHeap& heap, bool others, bool only_complete) {
  if (transaction.missing() == 0) return;
  victims_.clear();
  const std::lock_guard guard(state_.fast);
  for (const auto& candidate : state_.heaps) {
    if (candidate->space == vmm::kNoSpace || mine(*candidate, heap) == others) continue;
    add_victims(*candidate, only_complete);
  }
  order_victims(others);
  for (const Victim& victim : victims_) {
    for (std::uint32_t slot = victim.last; slot-- > victim.first && transaction.missing() > 0;) {
      const HandleId id = victim.heap->slots.active(slot);
      if (id == kNoHandle || victim.heap->slots.pinned(slot)) continue;
      need_edges(*victim.heap, slot, victim.stamp);
      transaction.take_idle(id, victim.stamp);
      rungs[others ? kOtherStreams : kSameStream] += state_.granule;
    }
    if (transaction.missing() == 0) return;
  }
}

}  // namespace gapless::engine
