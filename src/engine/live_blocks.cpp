// SPDX-License-Identifier: Apache-2.0
// Calls about one live block.
#include <mutex>

#include "engine/device_allocator.hpp"
#include "engine/pending.hpp"

namespace gapless::engine {

Status DeviceAllocator::record_stream(const vmm::Region& region, std::uint64_t address, driver::Stream stream) {
  auto* const heap = static_cast<BackedHeap*>(region.owner.load(std::memory_order_acquire));
  if (heap == nullptr) return unknown_pointer(address);
  const std::lock_guard guard(state_.fast);
  Units offset;
  if (!same_region(region, *heap, address, offset)) return unknown_pointer(address);
  const heap::BlockId id = heap->heap.find_start(offset);
  if (id == heap::kNoBlock || state_.blocks[id].state != heap::BlockState::live) return unknown_pointer(address);
  const stream::StreamKey key = stream::key_of(stream);
  // The heap's own stream orders reuse by itself, also for a block that was lent away. One that was forgotten is not
  // the one that has its handle now.
  const stream::StreamState& own = stream_of(*heap, id);
  if (own.finished() || !(key == own.key())) add_use(state_, id, key);
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
                                                : stream_of(*heap, id).handle();
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

}  // namespace gapless::engine
