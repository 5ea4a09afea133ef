// SPDX-License-Identifier: Apache-2.0
// Calls about the memory of a device as a whole.
#include <algorithm>
#include <mutex>
#include <string>

#include "driver/failed.hpp"
#include "engine/device_allocator.hpp"
#include "engine/forget_stream.hpp"
#include "engine/forked.hpp"
#include "engine/places.hpp"
#include "engine/segments.hpp"
#include "engine/trim.hpp"

namespace gapless::engine {

using driver::Result;

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
  out.large_repeated = state_.counters.repeated;
  out.large_kept = state_.counters.kept;
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
  state_.creator.pause();
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
  return ladder_.largest_obtainable(nullptr, nullptr);
}

Status DeviceAllocator::warm_up(driver::Stream stream, std::uint64_t bytes) {
  // One block of that size, at once free again: its granules are idle and in place for what comes.
  void* block = nullptr;
  const Status status = allocate(stream, bytes, &block);
  if (status != Status::ok || block == nullptr) return status;
  const vmm::Region* const region = state_.shared.addresses->find(reinterpret_cast<std::uint64_t>(block));
  return deallocate(*region, reinterpret_cast<std::uint64_t>(block));
}

Status DeviceAllocator::create_ahead(bool& made) {
  if ((state_.attention.load(std::memory_order_relaxed) & kForked) != 0) return forked_child();
  const RelaxedCapture relaxed(state_.ops);
  made = state_.creator.step();
  return Status::ok;
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
      if (result != Result::ok) return driver::failed(state_.ops, "cuMemSetAccess", result);
    }
  }
  devices = std::move(wanted);
  return Status::ok;
}

}  // namespace gapless::engine
