// SPDX-License-Identifier: Apache-2.0
#include "engine/exports.hpp"

#include <algorithm>
#include <mutex>
#include <string>

#include "driver/failed.hpp"
#include "engine/capturing.hpp"
#include "engine/device_allocator.hpp"
#include "engine/private_pools.hpp"

namespace gapless::engine {

namespace {

// Under the fast lock. A block of the same place and size is taken for the one that was shared: its pins stay a little
// longer, which harms nobody.
bool lives(const Export& one) {
  const heap::BlockId id = one.heap->heap.block_at(one.offset);
  if (id == heap::kNoBlock) return false;
  const heap::Block& block = one.heap->heap.pool()[id];
  return block.state == heap::BlockState::live && block.offset == one.offset && block.size == one.size;
}

// Under both locks. What a captured pool keeps in place stays there.
void set_pins(DeviceState& state, const Export& one, bool on) {
  if (!on && one.heap->pool != nullptr && one.heap->pool->captured) return;
  for (std::uint32_t slot = one.first; slot <= one.last; slot++) {
    if (one.heap->slots.pinned(slot) == on) continue;
    one.heap->slots.set_pinned(slot, on);
    if (on)
      state.pinned_slots++;
    else
      state.pinned_slots--;
  }
}

// Takes away the exports that `is_over` names, and their pins where no other one needs them: those that stay are pinned
// anew. Under the map lock.
template <typename IsOver>
void drop(DeviceState& state, IsOver is_over) {
  std::vector<Export>& exports = state.exports;
  const std::lock_guard guard(state.fast);
  const auto left = std::remove_if(exports.begin(), exports.end(), [&](const Export& one) {
    if (!is_over(one)) return false;
    set_pins(state, one, false);
    return true;
  });
  if (left != exports.end()) {
    exports.erase(left, exports.end());
    for (const Export& one : exports) set_pins(state, one, true);
  }
  state.exports_looked_at = exports.size();
}

// No early end: the time it takes says nothing about how much was right.
bool same_key(const ShareKey& a, const ShareKey& b) {
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); i++) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace

Status share_block(DeviceState& state, BackedHeap& heap, Units offset, const ShareKey& fresh, SharedRange& out) {
  if (heap.space == vmm::kNoSpace)
    return base::fail(Status::unsupported, "the block's memory comes from the source of its pool");
  if (!state.info.posix_handles)
    return base::fail(Status::unsupported, "the device's memory cannot be shared through file descriptors");
  constexpr std::size_t kFew = 64;
  if (state.exports.size() >= std::max(kFew, 2 * state.exports_looked_at)) reap_exports(state);
  if (state.exports.size() == state.exports.capacity()) state.exports.reserve(std::max(kFew, 2 * state.exports.size()));
  Export wanted{0, fresh, &heap, Units(0), Units(0), 0, 0};
  {
    const std::lock_guard guard(state.fast);
    const heap::BlockId id = heap.heap.block_at(offset);
    if (id == heap::kNoBlock || state.blocks[id].state != heap::BlockState::live)
      return base::fail(Status::unknown_pointer, "no live block is there");
    wanted.offset = state.blocks[id].offset;
    wanted.size = state.blocks[id].size;
  }
  wanted.first = heap.slots.slot_of(wanted.offset);
  wanted.last = heap.slots.slot_of(wanted.offset + wanted.size - Units(1));
  auto found = std::find_if(state.exports.begin(), state.exports.end(), [&](const Export& one) {
    return one.heap == wanted.heap && one.offset == wanted.offset && one.size == wanted.size;
  });
  if (found == state.exports.end()) {
    wanted.id = ++state.export_ids;
    found = state.exports.insert(found, wanted);
    // Granules move under the map lock only: a block that is freed meanwhile takes its pins along.
    const std::lock_guard guard(state.fast);
    set_pins(state, *found, true);
  }
  out = SharedRange{found->id, found->key, heap.slots.slot_address(found->first),
                    std::uint64_t{found->last} - found->first + 1};
  return Status::ok;
}

Status share_granule(DeviceState& state, std::uint64_t id, const ShareKey& key, std::uint64_t granule,
                     int& descriptor) {
  driver::Handle handle = 0;
  {
    const std::lock_guard guard(state.fast);
    const auto found = std::lower_bound(state.exports.begin(), state.exports.end(), id,
                                        [](const Export& one, std::uint64_t wanted) { return one.id < wanted; });
    if (found == state.exports.end() || found->id != id || !same_key(found->key, key) || !lives(*found) ||
        granule > found->last - found->first)
      return base::fail(Status::not_found, "the shared block is not alive any more");
    const vmm::HandleId active = found->heap->slots.active(found->first + static_cast<std::uint32_t>(granule));
    handle = state.ledger[active].handle;
  }
  const driver::Result result = state.ops.export_posix_fd(handle, descriptor);
  if (result == driver::Result::ok) return Status::ok;
  return driver::failed(state.ops, "cuMemExportToShareableHandle", result);
}

void reap_exports(DeviceState& state) {
  if (state.exports.empty()) return;
  drop(state, [](const Export& one) { return !lives(one); });
}

void forget_exports(DeviceState& state, BackedHeap& heap) {
  drop(state, [&](const Export& one) { return one.heap == &heap; });
}

bool is_exported(const DeviceState& state, const BackedHeap& heap, std::uint32_t slot) {
  return std::any_of(state.exports.begin(), state.exports.end(),
                     [&](const Export& one) { return one.heap == &heap && one.first <= slot && slot <= one.last; });
}

Status DeviceAllocator::share_block(const vmm::Region& region, std::uint64_t address, const ShareKey& fresh,
                                    SharedRange& out) {
  if ((state_.attention.load(std::memory_order_relaxed) & kForked) != 0)
    return base::fail(Status::unsupported, "a forked child has no memory of its own to share");
  const std::lock_guard guard(state_.map);
  auto* const heap = static_cast<BackedHeap*>(region.owner.load(std::memory_order_acquire));
  Units offset;
  if (heap == nullptr || !same_region(region, *heap, address / kUnitBytes * kUnitBytes, offset))
    return unknown_pointer(address);
  return engine::share_block(state_, *heap, offset, fresh, out);
}

Status DeviceAllocator::share_granule(std::uint64_t id, const ShareKey& key, std::uint64_t granule, int& descriptor) {
  const RelaxedCapture relaxed(state_.ops);
  const std::lock_guard guard(state_.map);
  return engine::share_granule(state_, id, key, granule, descriptor);
}

Status DeviceAllocator::wait_for_device() {
  const RelaxedCapture relaxed(state_.ops);
  {
    const std::lock_guard guard(state_.map);
    if (anyone_captures(state_)) return base::fail(Status::in_capture, "a stream captures");
  }
  const driver::Result result = state_.ops.device_synchronize(state_.device);
  if (result == driver::Result::ok) return Status::ok;
  return driver::failed(state_.ops, "cuCtxSynchronize", result);
}

}  // namespace gapless::engine
