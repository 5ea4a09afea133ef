// SPDX-License-Identifier: Apache-2.0
// The allocator of one device.
//
// Budget of a hit, allocate() plus deallocate(), in this file and heap.hpp: two uncontended fast locks, one bin lookup,
// at most one carve and two merges, one bitmap word for each 128 MiB requested, about forty counter updates; no driver
// call, no host allocation. One loop: at most Heap::kBinScan blocks of a bin are looked at, where the heap would grow
// otherwise; a request of Heap::kByAddress or more always looks at those of its own bin, and then of one higher bin.
// tests/unit/engine/host_memory_test.cpp and tests/unit/heap/heap_test.cpp hold it to that.
#pragma once

#include <cstdint>
#include <functional>

#include "engine/device_state.hpp"
#include "engine/homes.hpp"
#include "engine/kept_addresses.hpp"
#include "engine/ladder.hpp"
#include "engine/notify.hpp"
#include "engine/private_pools.hpp"
#include "policy/rounding.hpp"

namespace gapless::engine {

// Where the step under way began.
struct StepStart {
  char label[GAPLESS_LABEL_BYTES];
  std::uint64_t steps;  // marked so far
  std::uint64_t live_bytes;
};

struct SharedRange;

class DeviceAllocator {
 public:
  DeviceAllocator(Shared& shared, int device, const driver::DeviceInfo& info, const config::Options& options);
  ~DeviceAllocator();
  DeviceAllocator(const DeviceAllocator&) = delete;
  DeviceAllocator& operator=(const DeviceAllocator&) = delete;

  // ---- blocks; any thread. The contracts are gapless.h's.
  GAPLESS_FAST Status allocate(driver::Stream stream, std::uint64_t bytes, void** out);
  // `region` is what the address map said; it may be stale.
  GAPLESS_FAST Status deallocate(const vmm::Region& region, std::uint64_t address);
  Status record_stream(const vmm::Region& region, std::uint64_t address, driver::Stream stream);
  Status block_of(const vmm::Region& region, std::uint64_t address, gapless_block_info& out);
  Status set_cookie(void* pointer, std::uint64_t cookie);

  // ---- memory
  void read_stats(gapless_stats& out);
  void reset_peaks();
  void reset_accumulated();
  void set_limit(std::uint64_t bytes);
  std::uint64_t limit();
  Status trim(gapless_pool_id pool, std::uint64_t keep, std::uint64_t& released);
  std::uint64_t largest_available();
  Status warm_up(driver::Stream stream, std::uint64_t bytes);
  Status create_ahead(bool& made);
  Status enable_peer(int peer);
  // For other processes: exports.hpp.
  Status share_block(const vmm::Region& region, std::uint64_t address, const ShareKey& fresh, SharedRange& out);
  Status share_granule(std::uint64_t id, const ShareKey& key, std::uint64_t granule, int& descriptor);
  // All work of the device is done. Errors: IN_CAPTURE (waiting would break a capture), DRIVER.
  Status wait_for_device();
  Status forget_stream(driver::Stream stream);

  // ---- the rest
  PrivatePools& pools() { return pools_; }
  DeviceState& state() { return state_; }
  bool last_oom(gapless_oom_record& out) { return ladder_.last_oom(out); }
  void mark_step(const char* label, std::uint64_t units);
  void mark_phase(const char* label);
  void set_options(const config::Options& options, bool first = false);
  void listen(bool on);
  // Calls `look` with the step under way, as far as it has come. Errors: NOT_FOUND (no step was marked, or learning is
  // off).
  Status look_at_step(const std::function<void(const StepView&)>& look);
  StepStart step_start();
  // Live bytes that the engine could make room for at most: what is live, and all that could be had on top.
  std::uint64_t live_capacity();
  bool any_live();
  // In a forked child the driver may not be called: bookkeeping goes on, misses fail.
  void prepare_fork();
  void after_fork(bool child);

  // Checks I1 to I7 and all of the structures below; throws BrokenInvariant. Takes both locks.
  void validate();

 private:
  static bool same_region(const vmm::Region& region, const BackedHeap& heap, std::uint64_t address, Units& offset);
  GAPLESS_SLOW Status allocate_attended(driver::Stream stream, std::uint64_t bytes, void** out);
  Status allocate_routed(driver::Stream stream, std::uint64_t bytes, void** out);
  GAPLESS_SLOW Status allocate_missed(driver::Stream stream, std::uint64_t bytes, Units size, void** out);
  GAPLESS_SLOW Status allocate_shared(Request request, void** out);
  GAPLESS_SLOW Status allocate_unbacked(driver::Stream stream, std::uint64_t bytes, Units size, BackedHeap& heap,
                                        heap::BlockId block, void** out);
  GAPLESS_SLOW Status deallocate_attended(BackedHeap& heap, heap::BlockId block);
  GAPLESS_SLOW Status finish_climb(Status status, const Granted& granted, void** out);
  GAPLESS_SLOW static Status unknown_pointer(std::uint64_t address);
  Status climb(Request request, void** out);

  struct MarkRoom {
    std::unique_ptr<Journal> journal;  // null: there is one, or none is wanted
    std::vector<std::uint32_t> sizes;  // empty, with room for a census where one is due
  };
  MarkRoom make_mark_room();
  void keep_lasting_sizes(std::vector<std::uint32_t>& sizes);

  DeviceState state_;
  KeptAddresses kept_addresses_;  // by the one thread that reads the journal
  PrivatePools pools_;
  Ladder ladder_;
};

Status DeviceAllocator::allocate(driver::Stream stream, std::uint64_t bytes, void** out) {
  DeviceState& s = state_;
  const std::uint32_t attention = s.attention.load(std::memory_order_relaxed);
  if ((attention & ~std::uint32_t{kJournal}) != 0 || bytes > policy::kLargestRequest) [[unlikely]]
    return allocate_attended(stream, bytes, out);
  Units size = units_of(bytes);
  size += Units(size.count() == 0 ? 1 : 0);
  const auto size_class = static_cast<heap::SizeClass>(size > heap::kLargestSmall);

  s.fast.lock();
  StreamHome* home = s.last_home;
  if (home->handle != stream) [[unlikely]]
    home = find_home_or_none(s, stream);
  BackedHeap* const heap = home->heaps[static_cast<std::size_t>(size_class)];
  if (heap == nullptr) [[unlikely]] {
    s.fast.unlock();
    return allocate_missed(stream, bytes, size, out);
  }
  const heap::BlockId id = heap->heap.place(size);
  if (id == heap::kNoBlock) [[unlikely]] {
    s.fast.unlock();
    return allocate_missed(stream, bytes, size, out);
  }
  heap::Block& block = s.blocks[id];
  const Units offset = block.offset;
  if (!heap->slots.backed(offset, size)) [[unlikely]]
    return allocate_unbacked(stream, bytes, size, *heap, id, out);
  block.set_requested(bytes);
  s.counters.on_alloc(size_class, size, bytes);
  if ((attention & kJournal) != 0) [[unlikely]]
    s.journal->on_alloc(s.blocks, id, size, heap->stream->id());
  const driver::Address address = heap->slots.address_of(offset);
  s.fast.unlock();
  *out = reinterpret_cast<void*>(address);
  return Status::ok;
}

bool inline DeviceAllocator::same_region(const vmm::Region& region, const BackedHeap& heap, std::uint64_t address,
                                         Units& offset) {
  const std::uint64_t within = address - region.base.load(std::memory_order_relaxed);
  offset = Units(region.first_unit.load(std::memory_order_relaxed) + static_cast<std::uint32_t>(within >> kUnitShift));
  return region.owner.load(std::memory_order_relaxed) == &heap &&
         within < region.bytes.load(std::memory_order_relaxed) && (within & (kUnitBytes - 1)) == 0;
}

Status DeviceAllocator::deallocate(const vmm::Region& region, std::uint64_t address) {
  DeviceState& s = state_;
  auto* const heap = static_cast<BackedHeap*>(region.owner.load(std::memory_order_acquire));
  if (heap == nullptr) [[unlikely]]
    return unknown_pointer(address);
  s.fast.lock();
  Units offset;
  heap::BlockId id = heap::kNoBlock;
  if (same_region(region, *heap, address, offset)) [[likely]]
    id = heap->heap.find_start(offset);
  heap::Block& block = s.blocks[id];
  if (id == heap::kNoBlock || block.state != heap::BlockState::live) [[unlikely]] {
    s.fast.unlock();
    return unknown_pointer(address);
  }
  const std::uint32_t attention = s.attention.load(std::memory_order_relaxed);
  if ((block.flags | (attention & ~std::uint32_t{kJournal})) != 0) [[unlikely]]
    return deallocate_attended(*heap, id);
  s.counters.on_free(heap->size_class(), block.size, block.requested());
  if ((attention & kJournal) != 0) [[unlikely]]
    s.journal->on_free(s.blocks, id, block.size, heap->stream->id());
  heap->heap.free(id, heap->stream->epoch());
  s.fast.unlock();
  return Status::ok;
}

}  // namespace gapless::engine
