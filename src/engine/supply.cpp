// SPDX-License-Identifier: Apache-2.0
// Where the handles for a block come from: made ahead, made now, or taken from idle places.
#include <algorithm>
#include <mutex>

#include "driver/failed.hpp"
#include "engine/backing.hpp"
#include "engine/places.hpp"
#include "policy/growth.hpp"

namespace gapless::engine {

using driver::Result;
using vmm::HandleId;
using vmm::kNoHandle;

namespace {
// So many handles are made without asking the driver first whether it has enough: that question is a call as well.
constexpr std::uint64_t kBlindCreations = 32;
}  // namespace

// A request that is far beyond the device would else make all the handles that there are, a call each, and give them
// back.
bool Backing::hopeless(std::uint64_t creations, bool only_complete) {
  const std::uint64_t missing = transaction_.missing();
  return std::min(missing, creations) >= kBlindCreations && missing > obtainable_granules(state_, only_complete);
}

// Handles for all slots that plan_slots() found to need one, in the order that backing.hpp gives.
Backed Backing::supply(BackedHeap& heap, Units offset, Units size, bool only_complete) {
  while (transaction_.missing() > 0) {
    const HandleId id = state_.ledger.unlist_any();
    if (id == kNoHandle) break;
    transaction_.take_loose(id);
    rungs[kLoose] += state_.granule;
  }
  take_ready();
  std::uint64_t physical, peak_live;
  {
    const std::lock_guard guard(state_.fast);
    physical = state_.physical;
    peak_live = std::max(state_.counters.peak_live(), state_.counters.live_bytes() + size.bytes());
  }
  const std::uint64_t bound = policy::growth_bound(peak_live, state_.options.slack, state_.limit);
  if (hopeless(policy::can_create(physical, bound, state_.granule), only_complete)) return Backed::no_memory;
  create(bound, kCreated);
  steal(heap, false, only_complete);
  if (transaction_.missing() == 0 && !only_complete) reach_ahead(heap, offset, size);
  steal(heap, true, only_complete);
  if (transaction_.missing() > 0) {
    {
      const std::lock_guard guard(state_.fast);
      physical = state_.physical;
    }
    const std::uint64_t can = policy::can_create(physical, state_.limit, state_.granule);
    if (!hopeless(can, only_complete)) create(state_.limit, kOverSlack);
  }
  if (transaction_.missing() == 0) return Backed::yes;
  if (create_error_ == Result::ok) return Backed::no_memory;
  static_cast<void>(driver::failed(state_.ops, "cuMemCreate", create_error_));
  return Backed::failed;
}

// What was made ahead. It counts as physical already.
void Backing::take_ready() {
  for (driver::Handle handle = 0; transaction_.missing() > 0;) {
    state_.ledger.expect_one();
    if (!state_.creator.take(handle)) return;
    transaction_.take_loose(state_.ledger.add(handle));
    rungs[kCreated] += state_.granule;
  }
}

void Backing::create(std::uint64_t bound, Rung rung) {
  for (;; take_ready()) {
    if (transaction_.missing() == 0 || driver_full_) break;
    state_.ledger.expect_one();
    {
      const std::lock_guard guard(state_.fast);
      if (policy::can_create(state_.physical, bound, state_.granule) == 0) break;
      // Counted first: nobody else may grow into it meanwhile.
      state_.physical += state_.granule;
    }
    // Beyond the slack nothing is made that was not asked for.
    if (rung == kCreated) state_.creator.want(transaction_.missing() - 1, bound);
    driver::Handle handle = 0;
    const Result result = state_.ops.create(state_.device, state_.granule, state_.handles, handle);
    if (result != Result::ok) {
      driver_full_ = true;
      if (result != Result::out_of_memory) create_error_ = result;
      const std::lock_guard guard(state_.fast);
      state_.physical -= state_.granule;
      break;
    }
    transaction_.take_created(state_.ledger.add(handle));
    rungs[rung] += state_.granule;
    state_.traffic.created++;
    const std::lock_guard guard(state_.fast);
    state_.counters.creates++;
  }
  if (transaction_.missing() == 0) return;
  // The one that is being made, too.
  state_.creator.pause();
  take_ready();
}

// False: `victims_` has not room enough.
bool Backing::add_victims(BackedHeap& heap, bool only_complete) {
  const auto consider = [&](heap::BlockId id) {
    const heap::Block& block = heap.heap.pool()[id];
    std::uint32_t first, last;
    heap.heap.whole_slots(id, first, last);
    if (first >= last) return true;
    const bool complete = known_over(heap, first, std::min(last, heap.slots.slots()) - 1, block.stamp);
    if (only_complete && !complete) return true;
    if (victims_.size() == victims_.capacity()) return false;
    victims_.push_back(Victim{policy::victim_rank(block.size, complete), &heap, block.size, first, last, block.stamp,
                              static_cast<std::uint32_t>(victims_.size())});
    return true;
  };
  const heap::Bins& bins = heap.heap.bins();
  for (std::uint32_t bin = bins.next(heap::Bins::bin_of(heap.heap.slot_units())); bin != heap::Bins::kNone;
       bin = bins.next(bin + 1))
    for (heap::BlockId id = bins.head(bin); id != heap::kNoBlock; id = heap.heap.pool()[id].bin_next)
      if (!consider(id)) return false;
  // A span's last block owns the slot that it ends in even where it is shorter than a slot.
  for (const heap::Span& span : heap.heap.spans())
    if (span.last != heap::kNoBlock && heap.heap.pool()[span.last].is_free() &&
        heap.heap.pool()[span.last].size < heap.heap.slot_units() && !consider(span.last))
      return false;
  return true;
}

// Taken from first: what lies in heaps that the user's stream is used to. Nothing waits there, or mostly not.
bool Backing::mine(const BackedHeap& candidate, const BackedHeap& heap) const {
  return &candidate == &heap || (candidate.group == nullptr && candidate.stream == user_);
}

bool Backing::list_victims(const BackedHeap& heap, bool others, bool only_complete) {
  victims_.clear();
  return std::all_of(state_.heaps.begin(), state_.heaps.end(), [&](const auto& candidate) {
    return candidate->space == vmm::kNoSpace || mine(*candidate, heap) == others ||
           add_victims(*candidate, only_complete);
  });
}

// Not std::stable_sort, which asks the host for memory.
void Backing::order_victims(bool others) {
  // On its own stream nothing waits, so completion does not matter there; and a layout that depended on it would never
  // converge.
  const std::uint64_t relevant = others ? ~std::uint64_t{0} : ~std::uint32_t{0};
  std::sort(victims_.begin(), victims_.end(), [&](const Victim& a, const Victim& b) {
    const std::uint64_t of_a = a.rank & relevant, of_b = b.rank & relevant;
    return of_a != of_b ? of_a > of_b : a.listed < b.listed;
  });
  if (met_ == 0 || victims_.empty()) return;
  if (met_ > kTurns) {
    // Those of neither order were the right ones. The usual order again, begun one block later each time: where the
    // free blocks are the same ones each time, all are asked in the end.
    const auto first = static_cast<std::ptrdiff_t>((met_ - kTurns) % victims_.size());
    std::rotate(victims_.begin(), victims_.begin() + first, victims_.end());
    return;
  }
  // The granules that came first in that order were missed where they were taken, before this block was free again: in
  // a loop they are so in every step. Those of the highest place and of the smallest block are tried, in turn.
  for (std::size_t i = 0; i < victims_.size(); i++) victims_[i].listed = static_cast<std::uint32_t>(i);
  const bool by_place = met_ % 2 == 1;
  std::sort(victims_.begin(), victims_.end(), [&](const Victim& a, const Victim& b) {
    if (by_place && a.first != b.first) return a.first > b.first;
    if (!by_place && a.size != b.size) return a.size < b.size;
    return a.listed < b.listed;
  });
}

void Backing::steal(BackedHeap& heap, bool others, bool only_complete) {
  if (transaction_.missing() == 0) return;
  std::unique_lock fast(state_.fast);
  while (!list_victims(heap, others, only_complete)) {
    fast.unlock();
    victims_.reserve(2 * victims_.capacity() + 64);
    fast.lock();
  }
  order_victims(others);
  for (const Victim& victim : victims_) {
    for (std::uint32_t slot = victim.last; slot-- > victim.first && transaction_.missing() > 0;) {
      const HandleId id = victim.heap->slots.active(slot);
      if (id == kNoHandle || victim.heap->slots.pinned(slot)) continue;
      need_edges(*victim.heap, slot, victim.stamp);
      transaction_.take_idle(id, victim.stamp);
      rungs[others ? kOtherStreams : kSameStream] += state_.granule;
    }
    if (transaction_.missing() == 0) return;
  }
}

}  // namespace gapless::engine
