// SPDX-License-Identifier: Apache-2.0
//
// A failed allocation becomes PyTorch's exception, after PyTorch's observers have seen it.
#include "oom.hpp"

#include "allocator.hpp"
#include "check.hpp"
#include "device_facts.hpp"
#include "pending_exception.hpp"

namespace gapless::torch {

namespace {

int32_t add_free_block(void* user, const gapless_block_view* block) {
  auto& walk = *static_cast<std::pair<bool, size_t>*>(user);
  if (walk.first && block->state == GAPLESS_BLOCK_FREE) walk.second += block->bytes;
  return 0;
}

int32_t note_pool(void* user, const gapless_segment_view* segment) {
  static_cast<std::pair<bool, size_t>*>(user)->first = segment->pool.high != 0 || segment->pool.low != 0;
  return 0;
}

constexpr size_t kGrain = 512;  // what both allocators round requests to

// PyTorch counts free blocks of private pools as allocated in its text: nobody else can have them.
size_t free_in_private_pools(gapless_allocator* core, DeviceIndex device) {
  std::pair<bool, size_t> walk{false, 0};
  gapless_snapshot_visitor visitor = GAPLESS_STRUCT(gapless_snapshot_visitor);
  visitor.user = &walk;
  visitor.on_segment = &note_pool;
  visitor.on_block = &add_free_block;
  return gapless_walk_snapshot(core, device, nullptr, &visitor) == GAPLESS_OK ? walk.second : 0;
}

}  // namespace

void TorchAllocator::raise_allocation_failure(gapless_status status, DeviceIndex device, size_t bytes,
                                              cudaStream_t stream) {
  PendingException::rethrow();  // a pool's own allocator threw
  if (status == GAPLESS_ERROR_OUT_OF_MEMORY) raise_out_of_memory(device, bytes, stream);
  check(status, "allocation");
  TORCH_INTERNAL_ASSERT(false, "unreachable");
}

void TorchAllocator::raise_out_of_memory(DeviceIndex device, size_t bytes, cudaStream_t stream) {
  gapless_allocator* const core = core_for(device);
  gapless_stats stats = GAPLESS_STRUCT(gapless_stats);
  if (gapless_get_stats(core, device, &stats) != GAPLESS_OK) stats = GAPLESS_STRUCT(gapless_stats);
  const FreeAndTotal memory = device_memory(device);
  OutOfMemoryFacts facts;
  facts.device = device;
  facts.tried = native_segment_bytes(bytes);
  facts.device_total = memory.total;
  facts.device_free = memory.free;
  facts.allocated = static_cast<size_t>(stats.allocated_bytes[GAPLESS_ALL].current);
  facts.reserved = static_cast<size_t>(stats.reserved_bytes[GAPLESS_ALL].current);
  facts.free_in_private_pools = free_in_private_pools(core, device);
  facts.processes = describe_processes(device);
  size_t limit = 0;
  // A fraction of 1 is named too, as PyTorch does; and a limit of gapless's own, or the numbers would not explain the failure.
  if (gapless_get_limit(core, device, &limit) == GAPLESS_OK && (fraction_of(device) || limit < memory.total)) {
    facts.allowed = limit;
  }

  if (history_.listens()) {
    history_.add_out_of_memory(device, memory.free, (bytes + kGrain - 1) / kGrain * kGrain, stream);
  }
  c10::reportOutOfMemoryToProfiler(static_cast<int64_t>(bytes), facts.allocated, facts.reserved,
                                   c10::Device(c10::DeviceType::CUDA, device));
  std::vector<cca::OutOfMemoryObserver> observers;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    observers = observers_;
  }
  // An observer of Python's may throw: its exception replaces ours, as in native.
  for (const auto& observer : observers) {
    observer(device, facts.tried, facts.allowed.value_or(facts.device_total), facts.device_free);
  }
  C10_THROW_ERROR(OutOfMemoryError, out_of_memory_text(facts));
}

void TorchAllocator::attachOutOfMemoryObserver(cca::OutOfMemoryObserver observer) {
  const std::lock_guard<std::mutex> lock(mutex_);
  observers_.push_back(std::move(observer));
}

#if GAPLESS_TORCH_MINOR >= 12
// They are called only under native's throw_on_cudamalloc_oom policy, which gapless does not have: it never refuses
// before it has tried.
void TorchAllocator::attachOomRejectionObserver(cca::OomRejectionObserver /*observer*/) {}
#endif

}  // namespace gapless::torch
