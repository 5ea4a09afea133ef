// SPDX-License-Identifier: Apache-2.0
#include "engine/device_allocator.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>

#include "engine/forget_stream.hpp"
#include "engine/homes.hpp"
#include "engine/oom.hpp"
#include "engine/pending.hpp"
#include "engine/places.hpp"
#include "engine/segments.hpp"
#include "engine/trim.hpp"

namespace gapless::engine {

using driver::Result;

namespace {

std::uint64_t limit_of(const config::Options& options, std::uint64_t device_bytes) {
  if (options.memory_fraction >= 1.0) return options.limit;
  const auto fraction = static_cast<std::uint64_t>(options.memory_fraction * static_cast<double>(device_bytes));
  return std::min<std::uint64_t>(options.limit, fraction);
}

}  // namespace

DeviceAllocator::DeviceAllocator(Shared& shared, int device, const driver::DeviceInfo& info,
                                 const config::Options& options)
    : state_(*this, shared, device, info, options), pools_(state_), ladder_(state_, pools_) {
  // Record 0 is written through by list code, so it must exist before the first block.
  if (const heap::BlockId first = state_.blocks.take(); first != heap::kNoBlock) state_.blocks.give(first);
  state_.limit = limit_of(options, info.total_bytes);
  set_options(options, true);
  if (shared.listener.load() != nullptr) state_.raise(kListening);
}

DeviceAllocator::~DeviceAllocator() {
  if ((state_.attention.load() & kForked) != 0) return;
  const RelaxedCapture relaxed(state_.ops);
  {
    const std::lock_guard map(state_.map);
    settle_pending(state_, Settle::wait);
    static_cast<void>(wait_for_everything(state_));
    for (const auto& heap : state_.heaps)
      if (heap->space != vmm::kNoSpace) destroy_heap(state_, *heap);
    release_all_empty_segments(state_, pools_);
    for (vmm::HandleId id = state_.ledger.unlist_any(); id != vmm::kNoHandle; id = state_.ledger.unlist_any())
      static_cast<void>(state_.ops.release(state_.ledger[id].handle));
    for (const auto& stream : state_.streams) state_.order.forget(*stream);
    state_.events.clear();
  }
  say_farewells(state_);
}

Status DeviceAllocator::unknown_pointer(std::uint64_t address) {
  char text[64];
  std::snprintf(text, sizeof text, "%#llx is not the start of a live block", static_cast<unsigned long long>(address));
  return base::fail(Status::unknown_pointer, text);
}

// ---------------------------------------------------------------------------------------------------- allocation

Status DeviceAllocator::finish_climb(Status status, const Granted& granted, void** out) {
  std::uint64_t address = 0;
  if (status == Status::ok) {
    address = granted.heap->address_of(granted.block);
    *out = reinterpret_cast<void*>(address);
  }
  deliver(state_, address);
  return status;
}

Status DeviceAllocator::climb(Request request, void** out) {
  if ((state_.attention.load(std::memory_order_relaxed) & kForked) != 0)
    return base::fail(Status::unsupported, "CUDA cannot be used in a forked child process");
  Granted granted;
  return finish_climb(ladder_.climb(request, granted), granted, out);
}

Status DeviceAllocator::allocate_missed(driver::Stream stream, std::uint64_t bytes, Units size, void** out) {
  const auto size_class = static_cast<heap::SizeClass>(size > heap::kLargestSmall);
  return climb(Request{stream, bytes, size, size_class, nullptr}, out);
}

// The fast lock is held; `block` is live and not counted.
Status DeviceAllocator::allocate_unbacked(driver::Stream stream, std::uint64_t bytes, Units size, BackedHeap& heap,
                                          heap::BlockId block, void** out) {
  if (!state_.map.try_lock()) {
    // Another miss is under way. A block that waits for it would hold places that it may need: put it back and queue.
    heap.heap.unplace(block);
    state_.fast.unlock();
    return allocate_missed(stream, bytes, size, out);
  }
  state_.fast.unlock();
  Granted granted;
  return finish_climb(
      ladder_.climb_from(Request{stream, bytes, size, heap.size_class(), nullptr}, heap, block, granted), granted, out);
}

// Somebody listens, blocks are pending, a scope is open, sizes are rounded: all that the hit path leaves out.
Status DeviceAllocator::allocate_attended(driver::Stream stream, std::uint64_t bytes, void** out) {
  const std::uint32_t attention = state_.attention.load(std::memory_order_relaxed);
  if ((attention & kPendingFrees) != 0 && (attention & kForked) == 0) poll_pending(state_);
  Request request{stream, bytes, Units(), heap::SizeClass::small, nullptr};
  const bool too_large = bytes > policy::kLargestRequest;
  std::uint64_t rounded = too_large ? policy::kLargestRequest : bytes;
  {
    const std::lock_guard guard(state_.fast);
    rounded = policy::round_size(rounded, state_.options.roundup_power2_divisions);
  }
  request.size = units_of(rounded);
  request.size_class = static_cast<heap::SizeClass>(request.size > heap::kLargestSmall);
  if ((attention & kScopes) != 0) request.pool = pools_.route(stream);

  std::uint64_t address = 0;
  {
    const std::lock_guard guard(state_.fast);
    if ((attention & kInjecting) != 0)
      request.injected = state_.injector.fires(state_.marks, state_.counters.allocations(), bytes);
    StreamHome* const home = find_home(state_, stream);
    BackedHeap* heap = nullptr;
    // A pool is asked on the slow path first whether the stream captures; from then on hits are hits.
    if (home != nullptr && !request.pool) heap = home->heaps[static_cast<std::size_t>(request.size_class)];
    if (home != nullptr && request.pool && request.pool->captured && !request.pool->has_source)
      heap = request.pool->find(*home->stream, request.size_class);
    const bool try_it = heap != nullptr && !too_large && !request.injected;
    const heap::BlockId id = try_it ? heap->heap.place(request.size) : heap::kNoBlock;
    if (id != heap::kNoBlock) {
      heap::Block& block = state_.blocks[id];
      if (heap->slots.backed(block.offset, block.size)) {
        block.set_requested(bytes);
        state_.counters.on_alloc(request.size_class, block.size, bytes);
        if (state_.counters.any_pending()) state_.counters.follow_active_peak();
        note_block(state_, GAPLESS_EVENT_ALLOC, *heap, id);
        address = heap->address_of(id);
        note_birth(state_, *heap, id);
      } else {
        heap->heap.unplace(id);
      }
    }
  }
  if (address == 0) return climb(std::move(request), out);
  *out = reinterpret_cast<void*>(address);
  deliver(state_, address);
  return Status::ok;
}

// ---------------------------------------------------------------------------------------------------- freeing

// The fast lock is held.
Status DeviceAllocator::deallocate_attended(BackedHeap& heap, heap::BlockId id) {
  DeviceState& s = state_;
  heap::Block& block = s.blocks[id];
  s.counters.on_free(heap.size_class(), block.size, block.requested());
  note_block(s, GAPLESS_EVENT_FREE_REQUESTED, heap, id);
  note_death(s, heap, id);
  const bool forked = (s.attention.load(std::memory_order_relaxed) & kForked) != 0;
  if ((block.flags & heap::kUsed) == 0 || forked) {
    static_cast<void>(take_uses(s, id));
    note_free_completed(s, heap, id);
    heap.heap.free(id, heap.stream->epoch());
    s.fast.unlock();
    if (!forked) deliver(s);
    return Status::ok;
  }
  block.state = heap::BlockState::pending;
  const bool lent = (block.flags & heap::kLent) != 0;
  s.counters.on_pending(heap.size_class(), block.size, 1);
  std::vector<Use> uses = take_uses(s, id);
  s.fast.unlock();
  begin_pending(s, heap, id, std::move(uses), lent);
  deliver(s);
  return Status::ok;
}

Status DeviceAllocator::record_stream(const vmm::Region& region, std::uint64_t address, driver::Stream stream) {
  auto* const heap = static_cast<BackedHeap*>(region.owner.load(std::memory_order_acquire));
  if (heap == nullptr) return unknown_pointer(address);
  const std::lock_guard guard(state_.fast);
  Units offset;
  if (!same_region(region, *heap, address, offset)) return unknown_pointer(address);
  const heap::BlockId id = heap->heap.find_start(offset);
  if (id == heap::kNoBlock || state_.blocks[id].state != heap::BlockState::live) return unknown_pointer(address);
  const stream::StreamKey key = stream::key_of(stream);
  // The heap's own stream orders reuse by itself, also for a block that was lent away.
  if (!(key == heap->stream->key())) add_use(state_, id, key);
  return Status::ok;
}

Status DeviceAllocator::block_of(const vmm::Region& region, std::uint64_t address, gapless_block_info& out) {
  auto* const heap = static_cast<BackedHeap*>(region.owner.load(std::memory_order_acquire));
  if (heap == nullptr) return unknown_pointer(address);
  const std::lock_guard guard(state_.fast);
  Units offset;
  if (!same_region(region, *heap, address / kUnitBytes * kUnitBytes, offset)) return unknown_pointer(address);
  const heap::BlockId id = heap->heap.block_at(offset);
  if (id == heap::kNoBlock || state_.blocks[id].state != heap::BlockState::live) return unknown_pointer(address);
  const heap::Block& block = state_.blocks[id];
  out.address = reinterpret_cast<void*>(heap->address_of(id));
  out.bytes = block.size.bytes();
  out.requested_bytes = block.requested();
  out.device = state_.device;
  out.is_small = heap->size_class() == heap::SizeClass::small ? 1 : 0;
  out.stream = (block.flags & heap::kLent) != 0 ? state_.uses[state_.blocks.note(id).uses].front().stream.handle
                                                : heap->stream->handle();
  out.cookie = (block.flags & heap::kCookie) != 0 ? state_.blocks.note(id).cookie : 0;
  // The contiguous backed range around it.
  std::uint32_t first = heap->slots.slot_of(block.offset);
  std::uint32_t last = heap->slots.slot_of(block.offset + block.size - Units(1));
  const auto joined = [&](std::uint32_t a, std::uint32_t b) {
    return heap->slots.ok(b) && heap->slots.ok(a) &&
           heap->slots.slot_address(a) + state_.granule == heap->slots.slot_address(b);
  };
  while (first > 0 && joined(first - 1, first)) first--;
  while (last + 1 < heap->slots.slots() && joined(last, last + 1)) last++;
  std::uint64_t begin = heap->slots.slot_address(first);
  std::uint64_t end = heap->slots.slot_address(last) + state_.granule;
  if (heap->space == vmm::kNoSpace) {
    begin = region.base;
    end = region.base + region.bytes;
  }
  out.segment_address = reinterpret_cast<void*>(begin);
  out.segment_bytes = end - begin;
  return Status::ok;
}

Status DeviceAllocator::set_cookie(void* pointer, std::uint64_t cookie) {
  const auto address = reinterpret_cast<std::uint64_t>(pointer);
  const vmm::Region* const region = state_.shared.addresses->find(address);
  if (region == nullptr) return unknown_pointer(address);
  auto* const heap = static_cast<BackedHeap*>(region->owner.load(std::memory_order_acquire));
  if (heap == nullptr) return unknown_pointer(address);
  {
    const std::lock_guard guard(state_.fast);
    Units offset;
    if (!same_region(*region, *heap, address, offset)) return unknown_pointer(address);
    const heap::BlockId id = heap->heap.find_start(offset);
    if (id == heap::kNoBlock || state_.blocks[id].state != heap::BlockState::live) return unknown_pointer(address);
    heap::Block& block = state_.blocks[id];
    heap::BlockNote& note = state_.blocks.note(id);
    if ((block.flags & heap::kCookie) != 0) note_cookie_released(note.cookie);
    note.cookie = cookie;
    block.flags = static_cast<std::uint8_t>(cookie != 0 ? block.flags | heap::kCookie : block.flags & ~heap::kCookie);
  }
  deliver(state_);
  return Status::ok;
}

// ---------------------------------------------------------------------------------------------------- memory

void DeviceAllocator::read_stats(gapless_stats& out) {
  const std::lock_guard guard(state_.fast);
  state_.counters.read(out);
  const IdleBytes idle = idle_bytes(state_, false);
  out.idle_bytes = static_cast<std::int64_t>(idle.free + idle.pinned);
  // Nobody follows these between two reads: what is true now is all that is said.
  const SplitBytes split = split_bytes(state_);
  const auto now = [](std::int64_t value) { return gapless_stat{value, value, value, 0}; };
  out.inactive_split[GAPLESS_SMALL_POOL] = now(split.blocks[0]);
  out.inactive_split[GAPLESS_LARGE_POOL] = now(split.blocks[1]);
  out.inactive_split[GAPLESS_ALL] = now(split.blocks[0] + split.blocks[1]);
  out.inactive_split_bytes[GAPLESS_SMALL_POOL] = now(split.bytes[0]);
  out.inactive_split_bytes[GAPLESS_LARGE_POOL] = now(split.bytes[1]);
  out.inactive_split_bytes[GAPLESS_ALL] = now(split.bytes[0] + split.bytes[1]);
  out.pinned_bytes = static_cast<std::int64_t>(state_.pinned_slots * state_.granule);
  out.wait_edges += state_.order.counts().wait_edges;
  out.stalls = state_.order.counts().host_waits;
  out.dormant_mappings = static_cast<std::int64_t>(state_.ledger.dormant_mappings());
  out.reserved_address_bytes = static_cast<std::int64_t>(state_.reserved_addresses);
  out.max_split_size = -1;  // as PyTorch shows "unlimited"
}

void DeviceAllocator::reset_peaks() {
  const std::lock_guard guard(state_.fast);
  state_.counters.reset_peaks();
}

void DeviceAllocator::reset_accumulated() {
  const std::lock_guard guard(state_.fast);
  state_.counters.reset_accumulated();
}

void DeviceAllocator::set_limit(std::uint64_t bytes) {
  const std::lock_guard guard(state_.map);
  state_.limit = bytes;
}

std::uint64_t DeviceAllocator::limit() {
  const std::lock_guard guard(state_.map);
  return state_.limit;
}

Status DeviceAllocator::trim(gapless_pool_id id, std::uint64_t keep, std::uint64_t& released) {
  if ((state_.attention.load(std::memory_order_relaxed) & kForked) != 0) return Status::ok;
  Status status;
  {
    const RelaxedCapture relaxed(state_.ops);
    const std::lock_guard guard(state_.map);
    PrivatePool* const pool = is_default(id) ? nullptr : pools_.find(id);
    if (pool == nullptr && !is_default(id)) return base::fail(Status::not_found, "no such pool");
    status = engine::trim(state_, pools_, pool, keep, released);
  }
  say_farewells(state_);
  deliver(state_);
  return status;
}

std::uint64_t DeviceAllocator::largest_available() {
  const std::lock_guard guard(state_.map);
  return ladder_.largest_obtainable(nullptr);
}

Status DeviceAllocator::warm_up(driver::Stream stream, std::uint64_t bytes) {
  // One block of that size, at once free again: its granules are idle and in place for what comes.
  void* block = nullptr;
  const Status status = allocate(stream, bytes, &block);
  if (status != Status::ok || block == nullptr) return status;
  const vmm::Region* const region = state_.shared.addresses->find(reinterpret_cast<std::uint64_t>(block));
  return deallocate(*region, reinterpret_cast<std::uint64_t>(block));
}

Status DeviceAllocator::forget_stream(driver::Stream stream) {
  const RelaxedCapture relaxed(state_.ops);
  const std::lock_guard guard(state_.map);
  return engine::forget_stream(state_, stream);
}

Status DeviceAllocator::enable_peer(int peer) {
  const std::lock_guard guard(state_.map);
  auto& devices = state_.access_devices;
  if (std::find(devices.begin(), devices.end(), peer) != devices.end()) return Status::ok;
  std::vector<int> wanted = devices;
  wanted.push_back(peer);
  for (const auto& heap : state_.heaps) {
    if (heap->space == vmm::kNoSpace) continue;
    for (std::uint32_t slot = 0; slot < heap->slots.slots(); slot++) {
      if (heap->slots.mapped(slot) == vmm::kNoHandle || heap->slots.no_access(slot)) continue;
      const Result result = state_.ops.set_access(heap->slots.slot_address(slot), state_.granule, wanted);
      // Granting access twice is harmless, so a partial success needs no undoing.
      if (result != Result::ok)
        return base::fail_driver("cuMemSetAccess", static_cast<int>(result), state_.ops.result_name(result));
    }
  }
  devices = std::move(wanted);
  return Status::ok;
}

// ---------------------------------------------------------------------------------------------------- the rest

void DeviceAllocator::set_options(const config::Options& options, bool first) {
  const std::lock_guard map(state_.map);
  const std::lock_guard guard(state_.fast);
  // Another option that changes leaves a limit that set_limit() gave.
  if (options.limit != state_.options.limit || options.memory_fraction != state_.options.memory_fraction)
    state_.limit = limit_of(options, state_.info.total_bytes);
  if (!(options.inject_oom == state_.options.inject_oom) || first) {
    state_.injector.set(options.inject_oom);
    if (state_.injector.armed())
      state_.raise(kInjecting);
    else
      state_.lower(kInjecting);
  }
  state_.options = options;
  const bool write = state_.journal != nullptr && options.learn;
  if (write && (state_.attention.load(std::memory_order_relaxed) & kJournal) == 0) state_.journal->spoil();
  if (write)
    state_.raise(kJournal);
  else
    state_.lower(kJournal);
  if (options.roundup_power2_divisions == config::Divisions{})
    state_.lower(kRounding);
  else
    state_.raise(kRounding);
}

void DeviceAllocator::listen(bool on) {
  const std::lock_guard guard(state_.fast);
  if (on)
    state_.raise(kListening);
  else
    state_.lower(kListening);
}

bool DeviceAllocator::any_live() {
  const std::lock_guard guard(state_.fast);
  return state_.counters.live_bytes() > 0;
}

void DeviceAllocator::prepare_fork() {
  // Several devices' locks at once, in the order of the devices: the only place where that happens. try_lock, since
  // ranks are meant for one device.
  while (!state_.map.try_lock()) std::this_thread::yield();
  while (!state_.fast.try_lock()) std::this_thread::yield();
  while (!pools_.scopes_lock().try_lock()) std::this_thread::yield();
  while (!ladder_.oom_lock().try_lock()) std::this_thread::yield();
}

void DeviceAllocator::after_fork(bool child) {
  if (child) state_.raise(kForked);
  ladder_.oom_lock().unlock();
  pools_.scopes_lock().unlock();
  state_.fast.unlock();
  state_.map.unlock();
}

void DeviceAllocator::validate() {
  const std::lock_guard map(state_.map);
  const std::lock_guard guard(state_.fast);
  std::uint64_t live = 0;
  std::uint64_t pending = 0;
  state_.ledger.validate();
  for (const auto& heap : state_.heaps) {
    heap->heap.validate();
    for (const heap::Span& span : heap->heap.spans())
      for (heap::BlockId id = span.end > span.first ? heap->heap.head_of(span) : heap::kNoBlock; id != heap::kNoBlock;
           id = state_.blocks[id].next) {
        const heap::Block& block = state_.blocks[id];
        if (block.is_free()) continue;
        (block.state == heap::BlockState::live ? live : pending) += block.size.bytes();
        GAPLESS_CHECK(1, "I2", heap->slots.backed(block.offset, block.size));
      }
  }
  GAPLESS_CHECK(1, "E1", live == state_.counters.live_bytes() && pending == state_.counters.pending_bytes());
  GAPLESS_CHECK(1, "E1", state_.physical == static_cast<std::uint64_t>(state_.counters.reserved[GAPLESS_ALL].current));
}

}  // namespace gapless::engine
