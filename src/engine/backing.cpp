// SPDX-License-Identifier: Apache-2.0
#include "engine/backing.hpp"

#include <algorithm>
#include <mutex>

#include "engine/places.hpp"
#include "policy/growth.hpp"
#include "vmm/unmap.hpp"

namespace gapless::engine {

using driver::Result;
using stream::StreamOrder;
using vmm::HandleId;
using vmm::kNoHandle;

namespace {
constexpr std::uint64_t kMissesPerEvent = 4;
// So many handles are made without asking the driver first whether it has enough: that question is a call as well.
constexpr std::uint64_t kBlindCreations = 32;
}  // namespace

bool Backing::idle(HandleId id, BackedHeap*& heap, std::uint32_t& stamp) {
  const vmm::HandleRecord& record = state_.ledger[id];
  BackedHeap& owner = *state_.heap_of_space[record.space];
  heap = &owner;
  if (owner.slots.pinned(record.slot)) return false;
  if (last_idle_.heap == &owner && last_idle_.first <= record.slot && record.slot < last_idle_.last) {
    stamp = last_idle_.stamp;
    return true;
  }
  const heap::BlockId block = owner.heap.block_at(Units(record.slot << owner.slots.slot_shift()));
  if (block == heap::kNoBlock || !owner.heap.pool()[block].is_free()) return false;
  std::uint32_t first, last;
  owner.heap.whole_slots(block, first, last);
  if (record.slot < first || record.slot >= last) return false;
  stamp = owner.heap.pool()[block].stamp;
  last_idle_ = {&owner, first, last, stamp};
  return true;
}

bool Backing::usable(BackedHeap& heap, stream::StreamState& owner, std::uint32_t stamp, bool only_complete) {
  if (StreamOrder::known_complete(owner, stamp)) return true;
  // Work enqueued on the same stream comes after, whatever address it goes through.
  return !only_complete || &owner == heap.stream;
}

void Backing::need_edge(BackedHeap& heap, stream::StreamState& owner, std::uint32_t stamp) {
  if (StreamOrder::known_complete(owner, stamp)) return;
  fresh_use_ = true;
  if (&owner == heap.stream) return;
  for (Edge& edge : edges_)
    if (edge.stream == &owner) {
      edge.stamp = std::max(edge.stamp, stamp);
      return;
    }
  edges_.push_back(Edge{&owner, stamp});
}

void Backing::plan_slots(vmm::Transaction& transaction, BackedHeap& heap, Units offset, Units size,
                         bool only_complete) {
  const std::lock_guard guard(state_.fast);
  last_idle_.heap = nullptr;
  const std::uint32_t mark = state_.ledger.next_mark();
  const std::uint32_t end = heap.slots.slot_of(offset + size - Units(1)) + 1;
  for (std::uint32_t slot = heap.slots.slot_of(offset); slot < end; slot++) {
    if (heap.slots.active(slot) != kNoHandle) continue;
    const HandleId id = heap.slots.mapped(slot);
    if (id == kNoHandle) {
      transaction.need(slot);
      continue;
    }
    vmm::HandleRecord& record = state_.ledger[id];
    BackedHeap* owner = nullptr;
    std::uint32_t stamp = 0;
    // I6: the range may hold two dormant mappings of one handle; the second is a conflict.
    const bool seen = record.mark == mark;
    record.mark = mark;
    const bool available = !seen && !heap.slots.no_access(slot) &&
                           (record.listed || (record.active() && idle(id, owner, stamp) &&
                                              usable(heap, *owner->stream, stamp, only_complete)));
    if (available) {
      if (owner != nullptr) need_edge(heap, *owner->stream, stamp);
      transaction.reactivate(slot, id, stamp);
      rungs[kReactivated] += state_.granule;
    } else {
      if (!StreamOrder::known_complete(*heap.stream, heap.slots.last_use(slot)))
        conflict_stamp_ = std::max(conflict_stamp_, heap.slots.last_use(slot));
      transaction.conflict(slot);
    }
  }
}

bool Backing::free_of_cost(BackedHeap& heap, Units offset, Units size) {
  last_idle_.heap = nullptr;
  const std::uint32_t mark = state_.ledger.next_mark();
  const std::uint32_t end = heap.slots.slot_of(offset + size - Units(1)) + 1;
  for (std::uint32_t slot = heap.slots.slot_of(offset); slot < end; slot++) {
    if (heap.slots.active(slot) != kNoHandle) continue;
    const HandleId id = heap.slots.mapped(slot);
    if (id == kNoHandle || heap.slots.no_access(slot) || state_.ledger[id].mark == mark) return false;
    state_.ledger[id].mark = mark;
    BackedHeap* owner = nullptr;
    std::uint32_t stamp = 0;
    if (!state_.ledger[id].listed && !idle(id, owner, stamp)) return false;
  }
  return true;
}

void Backing::create(vmm::Transaction& transaction, std::uint64_t allowed, Rung rung) {
  const driver::HandleProperties properties{state_.info.posix_handles, false, state_.info.gpu_direct_rdma};
  while (transaction.missing() > 0 && allowed-- > 0 && !driver_full_) {
    driver::Handle handle = 0;
    const Result result = state_.ops.create(state_.device, state_.granule, properties, handle);
    if (result != Result::ok) {
      driver_full_ = true;
      if (result != Result::out_of_memory) create_error_ = result;
      return;
    }
    transaction.take_created(state_.ledger.add(handle));
    rungs[rung] += state_.granule;
    const std::lock_guard guard(state_.fast);
    state_.physical += state_.granule;
    state_.counters.creates++;
  }
}

void Backing::add_victims(BackedHeap& heap, bool only_complete) {
  const auto consider = [&](heap::BlockId id) {
    const heap::Block& block = heap.heap.pool()[id];
    const bool complete = StreamOrder::known_complete(*heap.stream, block.stamp);
    if (only_complete && !complete) return;
    std::uint32_t first, last;
    heap.heap.whole_slots(id, first, last);
    if (first < last)
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

void Backing::steal(vmm::Transaction& transaction, BackedHeap& heap, bool others, bool only_complete) {
  if (transaction.missing() == 0) return;
  victims_.clear();
  const std::lock_guard guard(state_.fast);
  for (const auto& candidate : state_.heaps) {
    if (candidate->space == vmm::kNoSpace || (candidate->stream == heap.stream) == others) continue;
    add_victims(*candidate, only_complete);
  }
  // On its own stream nothing waits, so completion does not matter there; and a layout that depended on it would never
  // converge.
  const std::uint64_t relevant = others ? ~std::uint64_t{0} : ~std::uint32_t{0};
  std::stable_sort(victims_.begin(), victims_.end(),
                   [&](const Victim& a, const Victim& b) { return (a.rank & relevant) > (b.rank & relevant); });
  for (const Victim& victim : victims_) {
    for (std::uint32_t slot = victim.last; slot-- > victim.first && transaction.missing() > 0;) {
      const HandleId id = victim.heap->slots.active(slot);
      if (id == kNoHandle || victim.heap->slots.pinned(slot)) continue;
      need_edge(heap, *victim.heap->stream, victim.stamp);
      transaction.take_idle(id, victim.stamp);
      rungs[others ? kOtherStreams : kSameStream] += state_.granule;
    }
    if (transaction.missing() == 0) return;
  }
}

bool Backing::connect(BackedHeap& heap) {
  for (const Edge& edge : edges_)
    if (!state_.order.order_after(*heap.stream, *edge.stream, edge.stamp)) return false;
  return true;
}

void Backing::undo(vmm::Transaction& transaction) {
  created_.clear();
  {
    const std::lock_guard guard(state_.fast);
    transaction.undo(created_);
  }
  for (const HandleId id : created_) {
    if (state_.ledger[id].mappings > 0 || state_.ops.release(state_.ledger[id].handle) != Result::ok) {
      state_.ledger.list(id);  // it exists and counts; the next miss uses it
      const std::lock_guard guard(state_.fast);
      state_.counters.on_reserved(heap::SizeClass::large, static_cast<std::int64_t>(state_.granule));
      continue;
    }
    state_.ledger.drop(id);
    const std::lock_guard guard(state_.fast);
    state_.physical -= state_.granule;
    state_.counters.creates--;
  }
}

// The free blocks that share the first and the last slot lie on the new handles too: from now on their last use is what
// those handles were used for, which is over when this stream's present epoch is.
void Backing::touch_neighbours(BackedHeap& heap, Units offset) {
  heap::BlockPool& blocks = heap.heap.pool();
  const heap::Block& block = blocks[heap.heap.block_at(offset)];
  for (const heap::BlockId id : {block.prev, block.next})
    if (id != heap::kNoBlock && blocks[id].is_free())
      blocks[id].stamp = std::max(blocks[id].stamp, heap.stream->epoch());
}

void Backing::commit(vmm::Transaction& transaction, BackedHeap& heap, Units offset) {
  const auto granule = static_cast<std::int64_t>(state_.granule);
  const std::lock_guard guard(state_.fast);
  transaction.commit();
  if (fresh_use_) touch_neighbours(heap, offset);
  Counters& counters = state_.counters;
  for (const vmm::Transaction::Left& left : transaction.left())
    counters.on_reserved_moved(state_.heap_of_space[left.space]->size_class(), heap.size_class(), granule);
  counters.on_reserved(heap.size_class(), granule * static_cast<std::int64_t>(transaction.created()));
  if (heap.size_class() == heap::SizeClass::small)
    counters.on_reserved_moved(heap::SizeClass::large, heap::SizeClass::small,
                               granule * static_cast<std::int64_t>(transaction.loose()));
  counters.reactivations += static_cast<std::int64_t>(transaction.reactivated());
  counters.moves += static_cast<std::int64_t>(transaction.moved());
}

// Where dormant mappings are not wanted. The new mapping is in place, so nothing here can fail the request.
void Backing::unmap_left(vmm::Transaction& transaction) {
  for (const vmm::Transaction::Left& left : transaction.left()) {
    BackedHeap& owner = *state_.heap_of_space[left.space];
    if (owner.slots.active(left.slot) != kNoHandle || owner.slots.mapped(left.slot) == kNoHandle) continue;
    if (!state_.order.host_wait(*owner.stream, left.stamp)) continue;
    std::uint64_t calls = 0;
    static_cast<void>(vmm::unmap_slots(state_.ledger, state_.ops, left.space, left.slot, 1, state_.granule, calls));
  }
}

// A request that is far beyond the device would else make all the handles that there are, a call each, and give them
// back.
bool Backing::hopeless(const vmm::Transaction& transaction, std::uint64_t creations, bool only_complete) {
  const std::uint64_t missing = transaction.missing();
  return std::min(missing, creations) >= kBlindCreations && missing > obtainable_granules(state_, only_complete);
}

Backed Backing::attempt(vmm::Transaction& transaction, BackedHeap& heap, Units offset, Units size, bool only_complete,
                        bool& retry) {
  retry = false;
  const RungBytes rungs_before = rungs;
  edges_.clear();
  conflict_stamp_ = 0;
  fresh_use_ = false;
  driver_full_ = false;
  create_error_ = Result::ok;
  transaction.begin(heap.space);
  plan_slots(transaction, heap, offset, size, only_complete);

  const bool misses = transaction.missing() > 0;
  while (transaction.missing() > 0) {
    const HandleId id = state_.ledger.unlist_any();
    if (id == kNoHandle) break;
    transaction.take_loose(id);
    rungs[kLoose] += state_.granule;
  }
  std::uint64_t physical, peak_live;
  {
    const std::lock_guard guard(state_.fast);
    physical = state_.physical;
    peak_live = std::max(state_.counters.peak_live(), state_.counters.live_bytes() + size.bytes());
  }
  const std::uint64_t may =
      policy::may_create(physical, peak_live, state_.options.slack + more_slack, state_.limit, state_.granule);
  if (hopeless(transaction, may, only_complete)) {
    undo(transaction);
    rungs = rungs_before;
    return Backed::no_memory;
  }
  create(transaction, may, kCreated);
  steal(transaction, heap, false, only_complete);
  if (transaction.missing() == 0 && !only_complete) reach_ahead(transaction, heap, offset, size);
  steal(transaction, heap, true, only_complete);
  if (transaction.missing() > 0) {
    {
      const std::lock_guard guard(state_.fast);
      physical = state_.physical;
    }
    const std::uint64_t can = policy::can_create(physical, state_.limit, state_.granule);
    if (!hopeless(transaction, can, only_complete)) create(transaction, can, kOverSlack);
  }
  if (transaction.missing() > 0) {
    undo(transaction);
    rungs = rungs_before;
    if (create_error_ == Result::ok) return Backed::no_memory;
    static_cast<void>(
        base::fail_driver("cuMemCreate", static_cast<int>(create_error_), state_.ops.result_name(create_error_)));
    return Backed::failed;
  }
  if (!connect(heap)) {
    // Some owner cannot be waited for now (it captures, or is gone): do with what is known to be over.
    undo(transaction);
    rungs = rungs_before;
    retry = !only_complete;
    return Backed::no_memory;
  }
  if (conflict_stamp_ != 0 && !state_.order.host_wait(*heap.stream, conflict_stamp_)) {
    undo(transaction);
    rungs = rungs_before;
    return Backed::no_memory;
  }
  Result result = transaction.unmap_conflicts();
  if (result == Result::ok) result = transaction.map_needed();
  if (result != Result::ok) {
    const char* const call = transaction.failed_call();
    undo(transaction);
    rungs = rungs_before;
    if (result == Result::out_of_memory) return Backed::no_memory;
    static_cast<void>(base::fail_driver(call, static_cast<int>(result), state_.ops.result_name(result)));
    return Backed::failed;
  }
  commit(transaction, heap, offset);
  if (misses) {
    const std::lock_guard guard(state_.fast);
    state_.counters.misses++;
  }
  return Backed::yes;
}

Backed Backing::back(BackedHeap& heap, Units offset, Units size, bool capturing) {
  vmm::Transaction transaction(state_.ledger, state_.ops, state_.access_devices, state_.granule);
  state_.order.poll(*heap.stream);
  bool retry = false;
  Backed result = attempt(transaction, heap, offset, size, capturing, retry);
  if (retry) {
    for (const auto& stream : state_.streams) state_.order.poll(*stream);
    result = attempt(transaction, heap, offset, size, true, retry);
  }
  if (result != Backed::yes) return result;
  heap.last_miss = ++state_.misses_begun;
  if (state_.options.eager_unmap == config::Toggle::on) unmap_left(transaction);
  // The slots that were left here may have to be unmapped one day: an event now tells then that their use is long over.
  // Reactivations come in series and rarely end so: one event for many of them.
  const bool worth_an_event = transaction.moved() > 0 || state_.misses_begun % kMissesPerEvent == 0;
  if (!capturing && worth_an_event)
    for (const vmm::Transaction::Left& left : transaction.left())
      if (state_.heap_of_space[left.space]->stream == heap.stream) {
        static_cast<void>(state_.order.close(*heap.stream, left.stamp));
        break;
      }
  return result;
}

}  // namespace gapless::engine
