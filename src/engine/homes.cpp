// SPDX-License-Identifier: Apache-2.0
#include "engine/homes.hpp"

#include <algorithm>
#include <mutex>
#include <new>

#include "driver/failed.hpp"
#include "engine/exports.hpp"
#include "engine/private_pools.hpp"
#include "engine/sharing.hpp"

namespace gapless::engine {

using driver::Result;

namespace {

// One more will fit.
template <typename T>
void make_room(std::vector<T>& in) {
  if (in.size() == in.capacity()) in.reserve(2 * in.size() + 4);
}

// Heaps of one class above which a stream's empty heap is taken over by a new stream. Below it, a stream that comes
// back finds its layout and its mappings as it left them.
constexpr std::size_t kHeapsKept = 32;

std::size_t hash_of(driver::Stream handle, std::uint64_t thread) {
  const auto bits = reinterpret_cast<std::uintptr_t>(handle) + thread * 0x10001;
  return (bits * 0x9E3779B97F4A7C15ull) >> 40;
}

void insert(std::vector<StreamHome*>& table, StreamHome* home) {
  const std::size_t mask = table.size() - 1;
  std::size_t at = hash_of(home->handle, home->thread) & mask;
  while (table[at] != nullptr) at = (at + 1) & mask;
  table[at] = home;
}

// Has the newest use of anything in the heap a stamp?
std::uint32_t newest_stamp(BackedHeap& heap) {
  std::uint32_t newest = 0;
  for (std::uint32_t bin = heap.heap.bins().next(0); bin != heap::Bins::kNone; bin = heap.heap.bins().next(bin + 1))
    for (heap::BlockId id = heap.heap.bins().head(bin); id != heap::kNoBlock; id = heap.heap.pool()[id].bin_next)
      newest = std::max(newest, heap.heap.pool()[id].stamp);
  for (std::uint32_t slot = 0; slot < heap.slots.slots(); slot++)
    if (heap.slots.mapped(slot) != vmm::kNoHandle) newest = std::max(newest, heap.slots.last_use(slot));
  return newest;
}

// The empty heap now belongs to a stream that is ordered after all its uses; from that stream's view they are `stamp`.
void restamp(BackedHeap& heap, std::uint32_t stamp) {
  for (std::uint32_t bin = heap.heap.bins().next(0); bin != heap::Bins::kNone; bin = heap.heap.bins().next(bin + 1))
    for (heap::BlockId id = heap.heap.bins().head(bin); id != heap::kNoBlock; id = heap.heap.pool()[id].bin_next)
      heap.heap.pool()[id].stamp = stamp;
  for (std::uint32_t slot = 0; slot < heap.slots.slots(); slot++) heap.slots.last_use(slot) = stamp;
}

bool adopt(DeviceState& state, BackedHeap& heap, stream::StreamState& stream) {
  const std::uint32_t newest = newest_stamp(heap);
  state.order.poll(*heap.stream);
  const bool complete = stream::StreamOrder::known_complete(*heap.stream, newest);
  if (!complete && !state.order.order_after(stream, *heap.stream, newest)) return false;
  const std::lock_guard guard(state.fast);
  restamp(heap, complete ? 0 : stream.epoch());
  heap.stream = &stream;
  return true;
}

void unlink_from_home(DeviceState& state, BackedHeap& heap) {
  for (const auto& home : state.homes)
    for (BackedHeap** const slot : {&home->heaps[0], &home->heaps[1], &home->aside})
      if (*slot == &heap) *slot = nullptr;
}

BackedHeap* take_spare(DeviceState& state, stream::StreamState& stream, heap::SizeClass size_class) {
  auto& spare = state.spare[static_cast<std::size_t>(size_class)];
  for (std::size_t i = spare.size(); i-- > 0;) {
    BackedHeap* const heap = spare[i];
    GAPLESS_CHECK(1, "E2", heap->heap.empty());
    if (!adopt(state, *heap, stream)) continue;
    spare.erase(spare.begin() + static_cast<std::ptrdiff_t>(i));
    heap->spare = false;
    return heap;
  }
  return nullptr;
}

void make_spare(DeviceState& state, BackedHeap& heap) {
  heap.spare = true;
  state.spare[static_cast<std::size_t>(heap.size_class())].push_back(&heap);  // make_heap made room
}

// The empty heap of another stream that has not been used for longest.
BackedHeap* take_over(DeviceState& state, stream::StreamState& stream, heap::SizeClass size_class) {
  BackedHeap* oldest = nullptr;
  std::size_t count = 0;
  {
    const std::lock_guard guard(state.fast);
    for (const auto& heap : state.heaps) {
      if (heap->size_class() != size_class || heap->pool != nullptr || heap->space == vmm::kNoSpace) continue;
      if (heap->group != nullptr) continue;
      count++;
      if (heap->heap.empty() && (oldest == nullptr || heap->last_miss < oldest->last_miss)) oldest = heap.get();
    }
    if (count < kHeapsKept || oldest == nullptr) return nullptr;
    // From here on no hit can land in it.
    unlink_from_home(state, *oldest);
  }
  if (adopt(state, *oldest, stream)) return oldest;
  const std::lock_guard guard(state.fast);
  make_spare(state, *oldest);
  choose_places(state);
  return nullptr;
}

}  // namespace

StreamHome* find_home(DeviceState& state, driver::Stream handle) {
  const stream::StreamKey key = stream::key_of(handle);
  if (state.home_table.empty()) return nullptr;
  const std::size_t mask = state.home_table.size() - 1;
  for (std::size_t at = hash_of(key.handle, key.thread) & mask;; at = (at + 1) & mask) {
    StreamHome* const home = state.home_table[at];
    if (home == nullptr) return nullptr;
    if (home->handle != key.handle || home->thread != key.thread) continue;
    // A thread's own default stream must not be guessed from the handle alone.
    if (key.thread == 0) state.last_home = home;
    return home;
  }
}

StreamHome* find_home_or_none(DeviceState& state, driver::Stream handle) {
  StreamHome* const home = find_home(state, handle);
  return home != nullptr ? home : &state.no_home;
}

StreamHome& home_of(DeviceState& state, driver::Stream handle) {
  {
    const std::lock_guard guard(state.fast);
    if (StreamHome* const home = find_home(state, handle)) return *home;
  }
  const stream::StreamKey key = stream::key_of(handle);
  std::uint32_t id = state.stream_ids;
  if (state.unused_stream_ids.empty()) {
    state.stream_ids++;
  } else {
    id = state.unused_stream_ids.back();
    state.unused_stream_ids.pop_back();
  }
  state.streams.push_back(std::make_unique<stream::StreamState>(key, id));
  auto fresh = std::make_unique<StreamHome>();
  fresh->handle = key.handle;
  fresh->thread = key.thread;
  fresh->stream = state.streams.back().get();
  fresh->shares = state.sharing;
  state.homes.push_back(std::move(fresh));
  std::vector<StreamHome*> table = table_of_homes(state, nullptr);
  use_table(state, table);
  return *state.homes.back();
}

std::vector<StreamHome*> table_of_homes(const DeviceState& state, const StreamHome* without) {
  std::size_t size = 16;
  while (size < state.homes.size() * 3) size *= 2;
  std::vector<StreamHome*> table(size, nullptr);
  for (const auto& home : state.homes)
    if (home.get() != without) insert(table, home.get());
  return table;
}

void use_table(DeviceState& state, std::vector<StreamHome*>& table) {
  const std::lock_guard guard(state.fast);
  state.home_table.swap(table);
  state.last_home = &state.no_home;
}

void reap_orphans(DeviceState& state) {
  if (!state.any_orphans) return;
  bool left = false;
  {
    const std::lock_guard guard(state.fast);
    for (const auto& heap : state.heaps) {
      if (!heap->orphan) continue;
      left = true;
      if (!heap->heap.empty()) continue;
      heap->orphan = false;
      retire_heap(state, *heap);
    }
  }
  reap_members(state);
  for (std::size_t i = state.streams.size(); i-- > 0;) {
    stream::StreamState& stream = *state.streams[i];
    if (!stream.finished()) continue;
    left = true;
    if (state.group.holds(stream) ||
        std::any_of(state.heaps.begin(), state.heaps.end(), [&](const auto& heap) { return heap->stream == &stream; }))
      continue;
    state.order.forget(stream);
    for (const auto& other : state.streams) stream::StreamOrder::unlearn(*other, stream.id());
    state.unused_stream_ids.push_back(stream.id());
    state.streams.erase(state.streams.begin() + static_cast<std::ptrdiff_t>(i));
  }
  state.any_orphans = left;
}

// False: the host has no memory for them, or the heap is as large as it may be.
static bool add_tables(DeviceState& state, BackedHeap& heap, const vmm::Reservation& reservation) {
  const std::uint64_t end = heap.heap.spans().empty() ? 0 : heap.heap.spans().back().limit.bytes();
  const Units first = units_of(round_up(end, vmm::AddressMap::kChunk));
  if (first.bytes() + reservation.bytes > heap.heap.capacity().bytes()) return false;
  const Units limit = first + units_of(reservation.bytes);
  vmm::Region* region = nullptr;
  try {
    make_room(heap.parts);
    const std::lock_guard guard(state.fast);
    region = state.shared.addresses->add(reservation.base, reservation.bytes, state.device, &heap, first);
    if (region != nullptr && (heap.group == nullptr || heap.group->grow_to(heap.slots.slot_of(limit))) &&
        heap.slots.add_span(first, limit, reservation.base) && heap.heap.add_span(first, limit)) {
      heap.parts.push_back(BackedHeap::Part{reservation, region});
      return true;
    }
  } catch (const std::bad_alloc&) {
  }
  if (region != nullptr) state.shared.addresses->remove(region);
  return false;
}

Status add_span(DeviceState& state, BackedHeap& heap, Units size) {
  const std::uint64_t total = state.info.total_bytes;
  double fraction = heap.size_class() == heap::SizeClass::large ? 1.5 : 0.25;
  if (heap.pool != nullptr) fraction /= 8;
  // A slot more, since the block's own granules are not the first of the span only by chance.
  const std::uint64_t least = size.bytes() + state.granule;
  const std::uint64_t bytes = vmm::reservation_bytes(least, total, state.reserved_addresses, fraction);

  vmm::Reservation reservation;
  Result result = vmm::reserve(state.ops, bytes, reservation);
  if (result != Result::ok) result = vmm::reserve(state.ops, vmm::reservation_bytes(least, 0, 0, 0), reservation);
  if (result == Result::out_of_memory)
    return base::fail(Status::out_of_memory, "cuMemAddressReserve: no addresses are left");
  if (result != Result::ok) return driver::failed(state.ops, "cuMemAddressReserve", result);

  if (!add_tables(state, heap, reservation)) {
    static_cast<void>(vmm::unreserve(state.ops, reservation));
    return base::fail(Status::out_of_memory, "the host has no memory for the tables of another address range");
  }
  state.reserved_addresses += reservation.raw_bytes;
  return Status::ok;
}

BackedHeap* make_heap(DeviceState& state, stream::StreamState& stream, heap::SizeClass size_class, PrivatePool* pool,
                      Units size, Status& status) {
  make_room(state.heaps);
  make_room(state.heap_of_space);
  state.spare[static_cast<std::size_t>(size_class)].reserve(state.heaps.capacity());
  state.ledger.expect_space();
  BackedHeap* heap = take_spare(state, stream, size_class);
  if (heap == nullptr) heap = take_over(state, stream, size_class);
  if (heap == nullptr) {
    // Room for four times the device: growth by further reservations included.
    const std::uint64_t room =
        round_up(4 * state.info.total_bytes + 8 * vmm::AddressMap::kChunk, vmm::AddressMap::kChunk);
    const std::uint64_t most = (std::uint64_t{1} << (32 + kUnitShift)) - vmm::AddressMap::kChunk;
    auto fresh = std::make_unique<BackedHeap>(state.self, state.blocks, size_class, state.slot_shift(),
                                              units_of(std::min(room, most)), vmm::SlotTable::kChunkUnitShift);
    fresh->stream = &stream;
    fresh->pool = pool;
    if (status = add_span(state, *fresh, size); status != Status::ok) return nullptr;
    fresh->space = state.ledger.add_space(&fresh->slots);
    if (state.heap_of_space.size() <= fresh->space) state.heap_of_space.resize(fresh->space + std::size_t{1});
    state.heap_of_space[fresh->space] = fresh.get();
    heap = fresh.get();
    const std::lock_guard guard(state.fast);
    state.heaps.push_back(std::move(fresh));
  }
  const std::lock_guard guard(state.fast);
  heap->pool = pool;
  if (size_class == heap::SizeClass::large) choose_places(state);
  status = Status::ok;
  return heap;
}

void retire_heap(DeviceState& state, BackedHeap& heap) {
  GAPLESS_CHECK(1, "E2", heap.heap.empty());
  unlink_from_home(state, heap);
  const bool traded = heap.trades();
  heap.pool = nullptr;
  make_spare(state, heap);
  if (traded) choose_places(state);
}

void choose_places(DeviceState& state) {
  const auto trades = [](const auto& heap) { return heap->size_class() == heap::SizeClass::large && heap->trades(); };
  const auto traders = std::count_if(state.heaps.begin(), state.heaps.end(), trades);
  for (const auto& heap : state.heaps)
    heap->heap.prefer_recent(heap->group != nullptr || (traders > 1 && trades(heap)));
}

void destroy_heap(DeviceState& state, BackedHeap& heap) {
  forget_exports(state, heap);
  for (std::uint32_t slot = 0; slot < heap.slots.slots(); slot++) {
    const vmm::HandleId id = heap.slots.mapped(slot);
    if (id == vmm::kNoHandle) continue;
    if (heap.slots.active(slot) != vmm::kNoHandle) {
      const std::lock_guard guard(state.fast);
      if (heap.slots.pinned(slot)) {
        heap.slots.set_pinned(slot, false);
        state.pinned_slots--;
      }
      heap.slots.set_ok(slot, false);
      state.ledger.deactivate(id, 0);
      state.ledger.list(id);
    }
    if (state.ops.unmap(heap.slots.slot_address(slot), state.granule) == Result::ok)
      state.ledger.note_unmapped(heap.space, slot);
  }
  for (const BackedHeap::Part& part : heap.parts) {
    state.shared.addresses->remove(part.region);
    static_cast<void>(vmm::unreserve(state.ops, part.reservation));
    state.reserved_addresses -= part.reservation.raw_bytes;
  }
  heap.parts.clear();
}

}  // namespace gapless::engine
