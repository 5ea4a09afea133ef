// SPDX-License-Identifier: Apache-2.0
#include "engine/pending.hpp"

#include <algorithm>
#include <list>
#include <mutex>
#include <new>
#include <utility>

#include "engine/capturing.hpp"
#include "engine/notify.hpp"
#include "engine/sharing.hpp"

namespace gapless::engine {

using driver::Result;

namespace {

void try_to_record(DeviceState& state, PendingFree& pending, const Use& use) {
  // Before there is an event that would be lost.
  if (pending.events.size() == pending.events.capacity()) pending.events.reserve(2 * pending.events.size() + 1);
  if (use.event != nullptr) {
    pending.events.push_back(use.event);
    return;
  }
  const stream::StreamKey& key = use.stream;
  // Here the handle of a thread's own default stream names that thread's only.
  if (key.thread != 0 && key.thread != stream::this_thread()) {
    pending.needs_device = true;
    return;
  }
  if (stream::captures(state.ops, state.device, key.handle)) {
    pending.deferred.push_back(use);
    return;
  }
  driver::Event event = nullptr;
  if (state.events.take(event) != Result::ok) {
    pending.needs_device = true;
    return;
  }
  if (state.ops.event_record(state.device, event, key.handle) != Result::ok) {
    pending.needs_device = true;
    state.events.give(event);
    return;
  }
  pending.events.push_back(event);
}

// Records the stream now, or says why it cannot be: then it is deferred, or only the device can tell.
void record(DeviceState& state, PendingFree& pending, const Use& use) {
  try {
    try_to_record(state, pending, use);
  } catch (const std::bad_alloc&) {
    pending.needs_device = true;
  }
}

void record_deferred(DeviceState& state, PendingFree& pending) {
  std::vector<Use> uses;
  uses.swap(pending.deferred);
  for (const Use& use : uses) record(state, pending, use);
}

// The block's stream waits for the events: what is enqueued on it later comes after.
bool order(DeviceState& state, BackedHeap& heap, const PendingFree& pending) {
  const stream::StreamState& waiter = stream_of(heap, pending.block);
  if (!pending.deferred.empty() || pending.needs_device || !state.order.reachable(waiter) ||
      state.order.capturing(waiter))
    return false;
  for (const driver::Event event : pending.events)
    if (state.ops.stream_wait_event(state.device, waiter.handle(), event) != Result::ok) return false;
  return true;
}

// Under the fast lock.
void finish(DeviceState& state, const PendingFree& pending) {
  const heap::Block& block = pending.heap->heap.pool()[pending.block];
  GAPLESS_CHECK(1, "E3", block.state == heap::BlockState::pending);
  state.counters.on_pending(pending.heap->size_class(), block.size, -1);
  note_free_completed(state, *pending.heap, pending.block);
  // Other streams are done with it, or waited for; its own stream's last use is what it is stamped with.
  release_block(*pending.heap, pending.block);
}

void give_events(DeviceState& state, const PendingFree& pending) {
  for (const driver::Event event : pending.events) state.events.give(event);
}

}  // namespace

void add_use(DeviceState& state, heap::BlockId id, const stream::StreamKey& stream) {
  heap::Block& block = state.blocks[id];
  heap::BlockNote& note = state.blocks.note(id);
  const bool first = (block.flags & heap::kUsed) == 0;
  std::list<PendingFree> room;
  if (first) {
    room.emplace_back();
    if (state.unused_uses.empty()) {
      state.uses.emplace_back();
      state.unused_uses.reserve(state.uses.capacity());  // take_uses() gives back any of them
      state.unused_uses.push_back(static_cast<std::uint32_t>(state.uses.size() - 1));
    }
    note.uses = state.unused_uses.back();
  }
  auto& uses = state.uses[note.uses];
  // One that was recorded early is over with the stream of that handle: this is another.
  const bool known = std::any_of(uses.begin(), uses.end(),
                                 [&](const Use& use) { return use.stream == stream && use.event == nullptr; });
  if (!known) uses.push_back(Use{stream, nullptr});
  if (!first) return;
  // Only now: the host may have had no memory for it.
  state.pending_room.splice(state.pending_room.end(), room);
  state.unused_uses.pop_back();
  block.flags |= heap::kUsed;
}

Uses take_uses(DeviceState& state, heap::BlockId id) {
  heap::Block& block = state.blocks[id];
  Uses uses;
  if ((block.flags & heap::kUsed) == 0) return uses;
  const std::uint32_t index = state.blocks.note(id).uses;
  uses.list.swap(state.uses[index]);
  uses.room.splice(uses.room.end(), state.pending_room, state.pending_room.begin());
  state.unused_uses.push_back(index);
  block.flags = static_cast<std::uint8_t>(block.flags & ~heap::kUsed);
  return uses;
}

void begin_pending(DeviceState& state, BackedHeap& heap, heap::BlockId block, Uses uses, bool lent) {
  PendingFree& pending = uses.room.front();
  pending.heap = &heap;
  pending.block = block;
  const RelaxedCapture relaxed(state.ops);
  for (const Use& use : uses.list) record(state, pending, use);
  // The borrower's work is the only foreign one: the owner of the heap waits for it, and the block is free in its
  // order.
  if (lent && uses.list.size() == 1 && order(state, heap, pending)) {
    {
      const std::lock_guard guard(state.fast);
      state.counters.wait_edges++;
      finish(state, pending);
    }
    give_events(state, pending);
    return;
  }
  const std::lock_guard guard(state.fast);
  pending.id = ++state.pending_ids;
  state.pending.splice(state.pending.end(), uses.room);
  state.raise(kPendingFrees);
}

// At every allocation while something is pending: asking only at every eighth doubled the remap time of fsdp_like,
// since memory that is free later is placed elsewhere.
void poll_pending(DeviceState& state) {
  {
    const std::lock_guard guard(state.fast);
    if (state.polling || state.pending.empty()) return;

    state.polling = true;
  }
  const RelaxedCapture relaxed(state.ops);
  for (;;) {
    std::vector<driver::Event> events;
    std::uint64_t id = 0;
    {
      const std::lock_guard guard(state.fast);
      if (!state.pending.empty() && state.pending.front().deferred.empty() && !state.pending.front().needs_device) {
        events = state.pending.front().events;
        id = state.pending.front().id;
      }
      if (id == 0) {
        state.polling = false;

        return;
      }
    }
    const bool over = std::all_of(events.begin(), events.end(), [&](driver::Event event) {
      return state.ops.event_query(state.device, event) == Result::ok;
    });
    const std::lock_guard guard(state.fast);
    // A miss may have settled it meanwhile.
    if (!state.pending.empty() && state.pending.front().id == id && over) {
      std::list<PendingFree> done;
      done.splice(done.end(), state.pending, state.pending.begin());
      finish(state, done.front());
      for (const driver::Event event : events) state.events.give(event);
      if (state.pending.empty()) state.lower(kPendingFrees);
      continue;
    }
    state.polling = false;
    return;
  }
}

std::size_t settle_pending(DeviceState& state, Settle how, Result* failure) {
  const auto waited = [&](Result result) {
    if (result != Result::ok && failure != nullptr) *failure = result;
    return result == Result::ok;
  };
  const auto needs_device = [](const PendingFree& pending) { return pending.needs_device; };
  bool ask_device = false;
  if (how == Settle::wait) {
    const std::lock_guard guard(state.fast);
    ask_device = std::any_of(state.pending.begin(), state.pending.end(), needs_device);
  }
  ask_device = ask_device && !anyone_captures(state);
  // Before what was freed meanwhile, however this ends.
  struct Taken {
    DeviceState& state;
    std::list<PendingFree> list;
    explicit Taken(DeviceState& of) : state(of) {
      const std::lock_guard guard(state.fast);
      list.swap(state.pending);
    }
    ~Taken() {
      const std::lock_guard guard(state.fast);
      state.pending.splice(state.pending.begin(), list);
      if (state.pending.empty()) state.lower(kPendingFrees);
    }
  } taken(state);
  std::size_t settled = 0;
  bool device_is_idle = false;
  if (ask_device) {
    state.order.count_host_wait();
    device_is_idle = waited(state.ops.device_synchronize(state.device));
  }
  for (auto next = taken.list.begin(); next != taken.list.end();) {
    const auto at = next++;
    PendingFree& pending = *at;
    if (!pending.deferred.empty()) record_deferred(state, pending);
    bool done = false;
    if (order(state, *pending.heap, pending)) {
      done = true;
      for (std::size_t i = 0; i < pending.events.size(); i++) state.order.count_wait_edge();
    } else if (how == Settle::wait && pending.deferred.empty() && (!pending.needs_device || device_is_idle)) {
      state.order.count_host_wait();
      done = std::all_of(pending.events.begin(), pending.events.end(),
                         [&](driver::Event event) { return waited(state.ops.event_synchronize(state.device, event)); });
    }
    if (!done) continue;
    std::list<PendingFree> over;
    over.splice(over.end(), taken.list, at);
    {
      const std::lock_guard guard(state.fast);
      finish(state, pending);
    }
    give_events(state, pending);
    settled++;
  }
  return settled;
}

}  // namespace gapless::engine
