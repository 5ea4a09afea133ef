// SPDX-License-Identifier: Apache-2.0
#include "engine/backing.hpp"

#include <algorithm>
#include <mutex>
#include <new>

#include "driver/failed.hpp"
#include "engine/notify.hpp"
#include "engine/places.hpp"
#include "vmm/unmap.hpp"

namespace gapless::engine {

using driver::Result;
using stream::StreamOrder;
using vmm::HandleId;
using vmm::kNoHandle;

namespace {
constexpr std::uint64_t kMissesPerEvent = 4;
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

// All the room that the attempt will need.
void Backing::begin(const BackedHeap& heap, Units offset, Units size) {
  const std::size_t slots = heap.slots.slot_of(offset + size - Units(1)) - heap.slots.slot_of(offset) + 1;
  transaction_.begin(heap.space, slots + kMostAhead, state_.access_devices);
  edges_.clear();
  edges_.reserve(state_.streams.size());
  conflicts_.clear();
  conflicts_.reserve(state_.streams.size());
  fresh_use_ = false;
  driver_full_ = false;
  create_error_ = Result::ok;
}

void Backing::plan_slots(BackedHeap& heap, Units offset, Units size, bool only_complete) {
  const std::lock_guard guard(state_.fast);
  last_idle_.heap = nullptr;
  const std::uint32_t mark = state_.ledger.next_mark();
  const std::uint32_t end = heap.slots.slot_of(offset + size - Units(1)) + 1;
  for (std::uint32_t slot = heap.slots.slot_of(offset); slot < end; slot++) {
    if (heap.slots.active(slot) != kNoHandle) continue;
    const HandleId id = heap.slots.mapped(slot);
    if (id == kNoHandle) {
      transaction_.need(slot);
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
      transaction_.reactivate(slot, id, stamp);
      rungs[kReactivated] += state_.granule;
    } else {
      for_each_use(heap, slot, slot, heap.slots.last_use(slot), [&](stream::StreamState& stream, std::uint32_t epoch) {
        if (!StreamOrder::known_complete(stream, epoch)) add_edge(conflicts_, stream, epoch);
      });
      transaction_.conflict(slot);
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

void Backing::undo(const BackedHeap& heap) {
  {
    const std::lock_guard guard(state_.fast);
    const std::size_t loose = transaction_.undo();
    if (heap.size_class() == heap::SizeClass::small)
      state_.counters.on_reserved_moved(heap::SizeClass::small, heap::SizeClass::large,
                                        static_cast<std::int64_t>(loose * state_.granule));
  }
  transaction_.for_each_created([&](HandleId id) {
    if (state_.ledger[id].mappings > 0 || state_.ops.release(state_.ledger[id].handle) != Result::ok) {
      state_.ledger.list(id);  // it exists and counts; the next miss uses it
      const std::lock_guard guard(state_.fast);
      state_.counters.on_reserved(heap::SizeClass::large, static_cast<std::int64_t>(state_.granule));
      return;
    }
    state_.ledger.drop(id);
    const std::lock_guard guard(state_.fast);
    state_.physical -= state_.granule;
    state_.counters.creates--;
  });
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
void Backing::start_slots(BackedHeap& heap, Units offset) {
  const heap::Block& block = heap.heap.pool()[heap.heap.block_at(offset)];
  const heap::MemberId member = heap.group->find(user_->key());
  std::uint32_t last = heap.slots.slot_of(block.offset + block.size - Units(1));
  if (!transaction_.needed().empty()) last = std::max(last, transaction_.needed().back());
  for (std::uint32_t slot = heap.slots.slot_of(offset); slot <= last; slot++)
    if (heap.slots.active(slot) == kNoHandle) heap.group->start(member, slot);
}

// What note_segments will need, made before the fast lock is taken: no memory of the host is asked for under it.
// Whether somebody listens does not change meanwhile (DeviceAllocator::listen takes the map lock).
void Backing::collect_segments(const BackedHeap& heap) {
  backed_.clear();
  if (!listening(state_)) return;
  transaction_.for_each_backed([&](std::uint32_t slot) { backed_.push_back(heap.slots.slot_address(slot)); });
  std::sort(backed_.begin(), backed_.end());
  expect_events(state_, transaction_.left().size() + backed_.size());
}

// The ranges that lost their memory, then those that have it now: whoever keeps account of them (NCCL registers each)
// finds every block inside. Under the fast lock.
void Backing::note_segments(const BackedHeap& heap) {
  if (!listening(state_)) return;
  for (const vmm::Transaction::Left& left : transaction_.left()) {
    const BackedHeap& owner = *state_.heap_of_space[left.space];
    note_event(state_, GAPLESS_EVENT_SEGMENT_UNMAP, owner, owner.slots.slot_address(left.slot), state_.granule, 0);
  }
  for (std::size_t first = 0, end = 0; first < backed_.size(); first = end) {
    end = first + 1;
    while (end < backed_.size() && backed_[end] == backed_[end - 1] + state_.granule) end++;
    note_event(state_, GAPLESS_EVENT_SEGMENT_MAP, heap, backed_[first], (end - first) * state_.granule, 0);
  }
}

void Backing::commit(BackedHeap& heap, Units offset, bool missed) {
  const auto granule = static_cast<std::int64_t>(state_.granule);
  const std::lock_guard guard(state_.fast);
  if (heap.group != nullptr)
    start_slots(heap, offset);
  else if (fresh_use_)
    touch_neighbours(heap, offset);
  transaction_.commit();
  Counters& counters = state_.counters;
  for (const vmm::Transaction::Left& left : transaction_.left()) {
    const BackedHeap& owner = *state_.heap_of_space[left.space];
    counters.on_reserved_moved(owner.size_class(), heap.size_class(), granule);
    if (!mine(owner, heap)) state_.traffic.crossings++;
  }
  counters.on_reserved(heap.size_class(), granule * static_cast<std::int64_t>(transaction_.created()));
  if (heap.size_class() == heap::SizeClass::small)
    counters.on_reserved_moved(heap::SizeClass::large, heap::SizeClass::small,
                               granule * static_cast<std::int64_t>(transaction_.loose()));
  counters.reactivations += static_cast<std::int64_t>(transaction_.reactivated());
  counters.moves += static_cast<std::int64_t>(transaction_.moved());
  if (missed) counters.misses++;
  note_segments(heap);
}

// Where dormant mappings are not wanted. The new mapping is in place, so nothing here can fail the request.
void Backing::unmap_left() {
  for (const vmm::Transaction::Left& left : transaction_.left()) {
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

Backed Backing::attempt(BackedHeap& heap, Units offset, Units size, bool only_complete, bool& retry) {
  retry = false;
  begin(heap, offset, size);
  // However it ends early, by an exception too: nothing has happened then.
  struct Unfinished {
    Backing& backing;
    const BackedHeap& heap;
    const RungBytes rungs = backing.rungs;
    bool committed = false;
    ~Unfinished() noexcept(false) {
      if (committed) return;
      backing.undo(heap);
      backing.rungs = rungs;
    }
  } unfinished{*this, heap};
  plan_slots(heap, offset, size, only_complete);
  const bool misses = transaction_.missing() > 0;
  if (const Backed supplied = supply(heap, offset, size, only_complete); supplied != Backed::yes) return supplied;
  collect_segments(heap);
  if (!connect()) {
    // Some owner cannot be waited for now (it captures, or is gone): do with what is known to be over.
    retry = !only_complete;
    return Backed::no_memory;
  }
  if (!wait_for_conflicts()) return Backed::no_memory;
  Result result = transaction_.unmap_conflicts();
  if (result == Result::ok) result = transaction_.map_needed();
  if (result == Result::out_of_memory) return Backed::no_memory;
  if (result != Result::ok) {
    static_cast<void>(driver::failed(state_.ops, transaction_.failed_call(), result));
    return Backed::failed;
  }
  unfinished.committed = true;
  commit(heap, offset, misses);
  return Backed::yes;
}

Backed Backing::back(BackedHeap& heap, Units offset, Units size, stream::StreamState& user, bool capturing,
                     unsigned met) {
  user_ = &user;
  met_ = met;
  state_.order.poll(user);
  bool retry = false;
  Backed result = attempt(heap, offset, size, capturing, retry);
  if (retry) {
    for (const auto& stream : state_.streams) state_.order.poll(*stream);
    result = attempt(heap, offset, size, true, retry);
  }
  if (result != Backed::yes) return result;
  heap.last_miss = ++state_.misses_begun;
  try {
    if (state_.options.eager_unmap == config::Toggle::on) unmap_left();
    if (!capturing) record_left();
  } catch (const std::bad_alloc&) {
    // The block has its memory; what is left elsewhere can be unmapped or recorded later.
  }
  return result;
}

// The slots that were left here may have to be unmapped one day: an event now tells then that their use is long over.
// Reactivations come in series and rarely end so: one event for many of them.
void Backing::record_left() {
  if (transaction_.moved() == 0 && state_.misses_begun % kMissesPerEvent != 0) return;
  for (const vmm::Transaction::Left& left : transaction_.left()) {
    const BackedHeap& owner = *state_.heap_of_space[left.space];
    std::uint32_t stamp = 0;
    for_each_use(owner, left.slot, left.slot, left.stamp, [&](const stream::StreamState& stream, std::uint32_t epoch) {
      if (&stream == user_) stamp = epoch;
    });
    if (stamp == 0) continue;
    static_cast<void>(state_.order.close(*user_, stamp));
    return;
  }
}

}  // namespace gapless::engine
