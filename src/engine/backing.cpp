// SPDX-License-Identifier: Apache-2.0
#include "engine/backing.hpp"

#include <algorithm>
#include <mutex>

#include "driver/failed.hpp"
#include "engine/notify.hpp"
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

bool Backing::usable(const BackedHeap& owner, std::uint32_t slot, std::uint32_t stamp, bool only_complete) {
  if (!only_complete) return true;
  bool usable = true;
  for_each_use(owner, slot, slot, stamp, [&](const stream::StreamState& stream, std::uint32_t epoch) {
    // Work enqueued on the same stream comes after, whatever address it goes through.
    usable = usable && (&stream == user_ || StreamOrder::known_complete(stream, epoch));
  });
  return usable;
}

void Backing::add_edge(std::vector<Edge>& edges, stream::StreamState& stream, std::uint32_t stamp) {
  for (Edge& edge : edges)
    if (edge.stream == &stream) {
      edge.stamp = std::max(edge.stamp, stamp);
      return;
    }
  edges.push_back(Edge{&stream, stamp});
}

void Backing::need_edges(const BackedHeap& owner, std::uint32_t slot, std::uint32_t stamp) {
  for_each_use(owner, slot, slot, stamp, [&](stream::StreamState& stream, std::uint32_t epoch) {
    if (StreamOrder::known_complete(stream, epoch)) return;
    fresh_use_ = true;
    if (&stream != user_) add_edge(edges_, stream, epoch);
  });
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
                                              usable(*owner, record.slot, stamp, only_complete)));
    if (available) {
      if (owner != nullptr) need_edges(*owner, record.slot, stamp);
      transaction.reactivate(slot, id, stamp);
      rungs[kReactivated] += state_.granule;
    } else {
      for_each_use(heap, slot, slot, heap.slots.last_use(slot), [&](stream::StreamState& stream, std::uint32_t epoch) {
        if (!StreamOrder::known_complete(stream, epoch)) add_edge(conflicts_, stream, epoch);
      });
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

bool Backing::connect() {
  return std::all_of(edges_.begin(), edges_.end(),
                     [&](const Edge& edge) { return state_.order.order_after(*user_, *edge.stream, edge.stamp); });
}

bool Backing::wait_for_conflicts() {
  return std::all_of(conflicts_.begin(), conflicts_.end(),
                     [&](const Edge& edge) { return state_.order.host_wait(*edge.stream, edge.stamp); });
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

// The same in a shared heap, slot by slot, those that were reached ahead of the block included. The handles are not
// active yet.
void Backing::start_slots(const vmm::Transaction& transaction, BackedHeap& heap, Units offset) {
  const heap::Block& block = heap.heap.pool()[heap.heap.block_at(offset)];
  const heap::MemberId member = heap.group->find(user_->key());
  std::uint32_t last = heap.slots.slot_of(block.offset + block.size - Units(1));
  if (!transaction.needed().empty()) last = std::max(last, transaction.needed().back());
  for (std::uint32_t slot = heap.slots.slot_of(offset); slot <= last; slot++)
    if (heap.slots.active(slot) == kNoHandle) heap.group->start(member, slot);
}

// What note_segments will need, made before the fast lock is taken: no memory of the host is asked for under it.
// Whether somebody listens does not change meanwhile (DeviceAllocator::listen takes the map lock).
void Backing::collect_segments(const vmm::Transaction& transaction, const BackedHeap& heap) {
  backed_.clear();
  if ((state_.attention.load(std::memory_order_relaxed) & kListening) == 0) return;
  transaction.for_each_backed([&](std::uint32_t slot) { backed_.push_back(heap.slots.slot_address(slot)); });
  std::sort(backed_.begin(), backed_.end());
  expect_events(state_, transaction.left().size() + backed_.size());
}

// The ranges that lost their memory, then those that have it now: whoever keeps account of them (NCCL registers each)
// finds every block inside. Under the fast lock.
void Backing::note_segments(const vmm::Transaction& transaction, const BackedHeap& heap) {
  if ((state_.attention.load(std::memory_order_relaxed) & kListening) == 0) return;
  for (const vmm::Transaction::Left& left : transaction.left()) {
    const BackedHeap& owner = *state_.heap_of_space[left.space];
    note_event(state_, GAPLESS_EVENT_SEGMENT_UNMAP, owner, owner.slots.slot_address(left.slot), state_.granule, 0);
  }
  for (std::size_t first = 0, end = 0; first < backed_.size(); first = end) {
    end = first + 1;
    while (end < backed_.size() && backed_[end] == backed_[end - 1] + state_.granule) end++;
    note_event(state_, GAPLESS_EVENT_SEGMENT_MAP, heap, backed_[first], (end - first) * state_.granule, 0);
  }
}

void Backing::commit(vmm::Transaction& transaction, BackedHeap& heap, Units offset) {
  const auto granule = static_cast<std::int64_t>(state_.granule);
  collect_segments(transaction, heap);
  const std::lock_guard guard(state_.fast);
  if (heap.group != nullptr)
    start_slots(transaction, heap, offset);
  else if (fresh_use_)
    touch_neighbours(heap, offset);
  transaction.commit();
  Counters& counters = state_.counters;
  for (const vmm::Transaction::Left& left : transaction.left()) {
    const BackedHeap& owner = *state_.heap_of_space[left.space];
    counters.on_reserved_moved(owner.size_class(), heap.size_class(), granule);
    if (!mine(owner, heap)) state_.traffic.crossings++;
  }
  counters.on_reserved(heap.size_class(), granule * static_cast<std::int64_t>(transaction.created()));
  if (heap.size_class() == heap::SizeClass::small)
    counters.on_reserved_moved(heap::SizeClass::large, heap::SizeClass::small,
                               granule * static_cast<std::int64_t>(transaction.loose()));
  counters.reactivations += static_cast<std::int64_t>(transaction.reactivated());
  counters.moves += static_cast<std::int64_t>(transaction.moved());
  note_segments(transaction, heap);
}

// Where dormant mappings are not wanted. The new mapping is in place, so nothing here can fail the request.
void Backing::unmap_left(vmm::Transaction& transaction) {
  for (const vmm::Transaction::Left& left : transaction.left()) {
    BackedHeap& owner = *state_.heap_of_space[left.space];
    if (owner.slots.active(left.slot) != kNoHandle || owner.slots.mapped(left.slot) == kNoHandle) continue;
    bool over = true;
    for_each_use(owner, left.slot, left.slot, left.stamp, [&](stream::StreamState& stream, std::uint32_t epoch) {
      over = over && state_.order.host_wait(stream, epoch);
    });
    if (!over) continue;
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
  conflicts_.clear();
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
  take_ready(transaction);
  std::uint64_t physical, peak_live;
  {
    const std::lock_guard guard(state_.fast);
    physical = state_.physical;
    peak_live = std::max(state_.counters.peak_live(), state_.counters.live_bytes() + size.bytes());
  }
  const std::uint64_t bound = policy::growth_bound(peak_live, state_.options.slack, state_.limit);
  const std::uint64_t may = policy::can_create(physical, bound, state_.granule);
  if (hopeless(transaction, may, only_complete)) {
    undo(transaction);
    rungs = rungs_before;
    return Backed::no_memory;
  }
  create(transaction, bound, kCreated);
  steal(transaction, heap, false, only_complete);
  if (transaction.missing() == 0 && !only_complete) reach_ahead(transaction, heap, offset, size);
  steal(transaction, heap, true, only_complete);
  if (transaction.missing() > 0) {
    {
      const std::lock_guard guard(state_.fast);
      physical = state_.physical;
    }
    const std::uint64_t can = policy::can_create(physical, state_.limit, state_.granule);
    if (!hopeless(transaction, can, only_complete)) create(transaction, state_.limit, kOverSlack);
  }
  if (transaction.missing() > 0) {
    undo(transaction);
    rungs = rungs_before;
    if (create_error_ == Result::ok) return Backed::no_memory;
    static_cast<void>(driver::failed(state_.ops, "cuMemCreate", create_error_));
    return Backed::failed;
  }
  if (!connect()) {
    // Some owner cannot be waited for now (it captures, or is gone): do with what is known to be over.
    undo(transaction);
    rungs = rungs_before;
    retry = !only_complete;
    return Backed::no_memory;
  }
  if (!wait_for_conflicts()) {
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
    static_cast<void>(driver::failed(state_.ops, call, result));
    return Backed::failed;
  }
  commit(transaction, heap, offset);
  if (misses) {
    const std::lock_guard guard(state_.fast);
    state_.counters.misses++;
  }
  return Backed::yes;
}

Backed Backing::back(BackedHeap& heap, Units offset, Units size, stream::StreamState& user, bool capturing,
                     unsigned met) {
  user_ = &user;
  met_ = met;
  vmm::Transaction transaction(state_.ledger, state_.ops, state_.access_devices, state_.granule);
  state_.order.poll(user);
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
    for (const vmm::Transaction::Left& left : transaction.left()) {
      const BackedHeap& owner = *state_.heap_of_space[left.space];
      std::uint32_t stamp = 0;
      for_each_use(owner, left.slot, left.slot, left.stamp,
                   [&](const stream::StreamState& stream, std::uint32_t epoch) {
                     if (&stream == &user) stamp = epoch;
                   });
      if (stamp == 0) continue;
      static_cast<void>(state_.order.close(user, stamp));
      break;
    }
  return result;
}

}  // namespace gapless::engine
