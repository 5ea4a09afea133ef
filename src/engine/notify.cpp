// SPDX-License-Identifier: Apache-2.0
#include "engine/notify.hpp"

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
// So many keep their room: what a thread notes next then needs no memory of the host, which it may not ask for under
// the fast lock.
constexpr std::size_t kKeptRoom = 1024;

template <typename T>
void keep_room(std::vector<T>& used, std::vector<T>& kept) {
  if (used.capacity() <= kept.capacity() || used.capacity() > kKeptRoom || !kept.empty()) return;
  used.clear();
  kept.swap(used);
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

}  // namespace

void note_event(DeviceState& state, gapless_event_kind kind, const BackedHeap& heap, std::uint64_t address,
                std::uint64_t bytes, std::uint64_t cookie) {
  if ((state.attention.load(std::memory_order_relaxed) & kListening) == 0) return;
  gapless_event event = event_of(state, kind, address, bytes);
  event.stream = heap.stream->handle();
  if (heap.pool != nullptr) event.pool = heap.pool->id;
  event.cookie = cookie;
  outbox.events.push_back(event);
}

void expect_events(DeviceState& state, std::size_t count) {
  if ((state.attention.load(std::memory_order_relaxed) & kListening) == 0) return;
  outbox.events.reserve(outbox.events.size() + count);
}

void note_oom(DeviceState& state, const gapless_oom_record& record) {
  if ((state.attention.load(std::memory_order_relaxed) & kListening) == 0) return;
  gapless_event event = event_of(state, GAPLESS_EVENT_OOM, record.driver_free_bytes, record.rounded_bytes);
  event.stream = record.stream;
  event.pool = record.pool;
  outbox.events.push_back(event);
}

void note_block(DeviceState& state, gapless_event_kind kind, BackedHeap& heap, heap::BlockId id) {
  if ((state.attention.load(std::memory_order_relaxed) & kListening) == 0) return;
  const heap::Block& block = heap.heap.pool()[id];
  const std::uint64_t cookie = (block.flags & heap::kCookie) != 0 ? heap.heap.pool().note(id).cookie : 0;
  note_event(state, kind, heap, heap.address_of(id), block.size.bytes(), cookie);
  outbox.events.back().requested_bytes = block.requested();
  if ((block.flags & heap::kShared) != 0) outbox.events.back().stream = stream_of(heap, id).handle();
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
  outbox.cookies.push_back(cookie);
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
