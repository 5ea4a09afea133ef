// SPDX-License-Identifier: Apache-2.0
#include "engine/notify.hpp"

#include <algorithm>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "engine/device_allocator.hpp"
#include "engine/private_pools.hpp"

namespace gapless::engine {

namespace {

struct Outbox {
  std::vector<gapless_event> events;
  std::vector<std::uint64_t> cookies;
};
thread_local Outbox outbox;
// A thread that has delivered once keeps room for so many: what it notes next then needs no memory of the host, which
// the fast lock should not be held for. What asks for it under that lock all the same: the first event of a thread that
// has only freed so far, and a call that notes more than these without expect_events().
constexpr std::size_t kKeptRoom = 1024;
// An allocation and what its frees and uses add; what a miss tells of segments is counted apart.
constexpr std::size_t kEventsOfACall = 8;

template <typename T>
void keep_room(std::vector<T>& used, std::vector<T>& kept) {
  if (kept.capacity() >= kKeptRoom || !kept.empty()) return;
  used.clear();
  try {
    if (used.capacity() > kKeptRoom) used.shrink_to_fit();
    used.reserve(kKeptRoom);
  } catch (const std::bad_alloc&) {
  }
  kept.swap(used);
}

// On the slow path an event that the host has no memory for is lost, and its number with it; what the engine was about
// to do is not.
template <typename T>
void append(std::vector<T>& to, const T& what) {
  try {
    to.push_back(what);
  } catch (const std::bad_alloc&) {
  }
}

thread_local int deliveries_of_this_thread = 0;

// Counts a thread while it may call the listener, also when that throws. With await_deliveries() this is a store
// followed by a load on both sides (who comes second must see the other), hence sequentially consistent.
class Delivery {
 public:
  explicit Delivery(Shared& shared) : shared_(shared) {
    shared_.delivering.fetch_add(1);
    deliveries_of_this_thread++;
  }
  ~Delivery() {
    deliveries_of_this_thread--;
    shared_.delivering.fetch_sub(1);
  }
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;

 private:
  Shared& shared_;
};

gapless_event event_of(DeviceState& state, gapless_event_kind kind, std::uint64_t address, std::uint64_t bytes) {
  gapless_event event{};
  event.struct_size = sizeof event;
  event.kind = kind;
  event.device = state.device;
  event.sequence = ++state.event_sequence;
  event.address = address;
  event.bytes = bytes;
  event.requested_bytes = bytes;
  return event;
}

gapless_event event_in(DeviceState& state, gapless_event_kind kind, const BackedHeap& heap, std::uint64_t address,
                       std::uint64_t bytes, std::uint64_t cookie) {
  gapless_event event = event_of(state, kind, address, bytes);
  event.stream = heap.stream->handle();
  if (heap.pool != nullptr) event.pool = heap.pool->id;
  event.cookie = cookie;
  return event;
}

}  // namespace

void note_event(DeviceState& state, gapless_event_kind kind, const BackedHeap& heap, std::uint64_t address,
                std::uint64_t bytes, std::uint64_t cookie) {
  if (listening(state)) append(outbox.events, event_in(state, kind, heap, address, bytes, cookie));
}

void expect_events(DeviceState& state, std::size_t count) {
  if (!listening(state)) return;
  const std::size_t needed = outbox.events.size() + count + kEventsOfACall;
  if (needed > outbox.events.capacity()) outbox.events.reserve(std::max(needed, kKeptRoom));
  if (outbox.cookies.capacity() == 0) outbox.cookies.reserve(kKeptRoom);
}

void note_oom(DeviceState& state, const gapless_oom_record& record) {
  if (!listening(state)) return;
  gapless_event event = event_of(state, GAPLESS_EVENT_OOM, record.driver_free_bytes, record.rounded_bytes);
  event.stream = record.stream;
  event.pool = record.pool;
  append(outbox.events, event);
}

void note_block(DeviceState& state, gapless_event_kind kind, BackedHeap& heap, heap::BlockId id) {
  if (!listening(state)) return;
  const heap::Block& block = heap.heap.pool()[id];
  const std::uint64_t cookie = (block.flags & heap::kCookie) != 0 ? heap.heap.pool().note(id).cookie : 0;
  gapless_event event = event_in(state, kind, heap, heap.address_of(id), block.size.bytes(), cookie);
  event.requested_bytes = block.requested();
  if ((block.flags & heap::kShared) != 0) event.stream = stream_of(heap, id).handle();
  append(outbox.events, event);
}

void note_free_completed(DeviceState& state, BackedHeap& heap, heap::BlockId id) {
  note_block(state, GAPLESS_EVENT_FREE_COMPLETED, heap, id);
  heap::Block& block = heap.heap.pool()[id];
  if ((block.flags & heap::kCookie) == 0) return;
  block.flags = static_cast<std::uint8_t>(block.flags & ~heap::kCookie);
  note_cookie_released(heap.heap.pool().note(id).cookie);
}

void note_birth(DeviceState& state, BackedHeap& heap, heap::BlockId id) {
  if ((state.attention.load(std::memory_order_relaxed) & kJournal) != 0)
    state.journal->on_alloc(state.blocks, id, state.blocks[id].size, stream_of(heap, id).id());
}

void note_death(DeviceState& state, BackedHeap& heap, heap::BlockId id) {
  if ((state.attention.load(std::memory_order_relaxed) & kJournal) != 0)
    state.journal->on_free(state.blocks, id, state.blocks[id].size, stream_of(heap, id).id());
}

void note_cookie_released(std::uint64_t cookie) {
  append(outbox.cookies, cookie);
}

void deliver(DeviceState& state, std::uint64_t fresh) {
  if (outbox.events.empty() && outbox.cookies.empty()) return;
  // A callback may call back into gapless: what that call notes is its own to deliver.
  Outbox box;
  std::swap(box, outbox);
  const Delivery delivery(state.shared);
  Listener* const listener = state.shared.listener.load();
  if (listener == nullptr) return;
  for (const gapless_event& event : box.events) {
    if (!listener->wants(event.kind)) continue;
    const std::uint64_t cookie = listener->on_event(event);
    if (event.kind == GAPLESS_EVENT_ALLOC && event.address == fresh && cookie != 0)
      static_cast<void>(state.self.set_cookie(reinterpret_cast<void*>(fresh), cookie));
  }
  for (const std::uint64_t cookie : box.cookies) listener->release_cookie(cookie);
  keep_room(box.events, outbox.events);
  keep_room(box.cookies, outbox.cookies);
}

void await_deliveries(Shared& shared) {
  // Two calls that waited for each other's end would wait for ever.
  if (delivering_here()) return;
  while (shared.delivering.load() > 0) std::this_thread::yield();
}

bool delivering_here() {
  return deliveries_of_this_thread != 0;
}

}  // namespace gapless::engine
