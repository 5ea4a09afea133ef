// SPDX-License-Identifier: Apache-2.0
//
// Private pools: graph captures (n, 0), MemPools (0, n). gapless keeps the use counts; here only ownership crosses the
// ABI.
#include <algorithm>
#include <functional>
#include <vector>

#include "allocator.hpp"
#include "check.hpp"
#include "pending_exception.hpp"

namespace gapless::torch {

namespace {

// A scope's filter, alive from begin to the end of the scope.
using Filter = std::function<bool(cudaStream_t)>;

int32_t call_filter(void* user, gapless_stream stream) {
  return (*static_cast<Filter*>(user))(static_cast<cudaStream_t>(stream)) ? 1 : 0;
}

void destroy_filter(void* user) {
  delete static_cast<Filter*>(user);
}

thread_local bool in_source = false;

// The allocator that a MemPool was made with. The pool owns a share of it until its last segment is back, which may be
// long after the MemPool object has died.
struct Source {
  PoolSegmentAllocator allocator;

  static void* allocate(void* user, int32_t device, gapless_stream stream, size_t bytes) {
    PendingException::forget();
    void* segment = nullptr;
    in_source = true;
    try {
      const c10::cuda::CUDAGuard guard(static_cast<DeviceIndex>(device));
      segment = static_cast<Source*>(user)->allocator->raw_alloc_with_stream(bytes, static_cast<cudaStream_t>(stream));
    } catch (...) {
      PendingException::keep();  // thrown again by the allocation that asked
    }
    in_source = false;
    return segment;
  }
  static void deallocate(void* user, int32_t device, void* segment, size_t /*bytes*/) {
    try {
      const c10::cuda::CUDAGuard guard(static_cast<DeviceIndex>(device));
      static_cast<Source*>(user)->allocator->raw_delete(segment);
    } catch (const std::exception& error) {
      TORCH_WARN("gapless: a pool's allocator failed to take a segment back: ", error.what());
    }
  }
  static void destroy(void* user) { delete static_cast<Source*>(user); }
};

}  // namespace

bool TorchAllocator::in_pool_source() noexcept {
  return in_source;
}

void TorchAllocator::createOrIncrefPool(DeviceIndex device, MempoolId_t pool, PoolSegmentAllocator allocator) {
  gapless_allocator* const core = core_for(device);
  // A MemPool made of this very allocator gets its memory as any pool of ours does.
  const bool own = allocator == nullptr || &*allocator == static_cast<cca::CUDAAllocator*>(this);
  if (own) return check(gapless_pool_create(core, device, pool_id(pool), nullptr), "createOrIncrefPool");
  auto holder = std::make_unique<Source>();
  holder->allocator = std::move(allocator);
  gapless_segment_source source = GAPLESS_STRUCT(gapless_segment_source);
  source.user = holder.get();
  source.allocate = &Source::allocate;
  source.deallocate = &Source::deallocate;
  source.destroy = &Source::destroy;
  check(gapless_pool_create(core, device, pool_id(pool), &source), "createOrIncrefPool");
  holder.release();  // now the pool's, until Source::destroy
}

void TorchAllocator::beginAllocateToPool(DeviceIndex device, MempoolId_t pool,
                                         std::function<bool(cudaStream_t)> filter) {
  auto held = std::make_unique<Filter>(std::move(filter));
  check(gapless_pool_begin(core_for(device), device, pool_id(pool), &call_filter, held.get(), &destroy_filter),
        "beginAllocateToPool");
  held.release();  // now the scope's, until destroy_filter
}

void TorchAllocator::endAllocateToPool(DeviceIndex device, MempoolId_t pool) {
  const gapless_status status = gapless_pool_end(core_for(device), device, pool_id(pool));
  TORCH_CHECK(status != GAPLESS_ERROR_NOT_FOUND, "endAllocatePool: not currently recording to mempool_id");
  check(status, "endAllocateToPool");
}

void TorchAllocator::releasePool(DeviceIndex device, MempoolId_t pool) {
  check(gapless_pool_release(core_for(device), device, pool_id(pool)), "releasePool");
}

int TorchAllocator::getPoolUseCount(DeviceIndex device, MempoolId_t pool) {
  int32_t count = 0;
  const gapless_status status = gapless_pool_use_count(core_for(device), device, pool_id(pool), &count);
  if (status == GAPLESS_ERROR_NOT_FOUND) return 0;
  check(status, "getPoolUseCount");
  return count;
}

#if GAPLESS_TORCH_MINOR >= 11
void TorchAllocator::setUseOnOOM(DeviceIndex device, MempoolId_t pool, bool use_on_oom) {
#else
void TorchAllocator::setUseOnOOM(DeviceIndex device, MempoolId_t pool) {
  const bool use_on_oom = true;
#endif
  check(gapless_pool_set_flag(core_for(device), device, pool_id(pool), GAPLESS_POOL_USE_ON_OOM, use_on_oom ? 1 : 0),
        "setUseOnOOM");
}

#if GAPLESS_TORCH_MINOR >= 10
void TorchAllocator::setNoSplit(DeviceIndex device, MempoolId_t pool) {
  check(gapless_pool_set_flag(core_for(device), device, pool_id(pool), GAPLESS_POOL_NO_SPLIT, 1), "setNoSplit");
}
#endif

bool TorchAllocator::checkPoolLiveAllocations(DeviceIndex device, MempoolId_t pool,
                                              const std::unordered_set<void*>& expected) {
  gapless_allocator* const core = core_for(device);
  std::vector<void*> live(expected.size());
  size_t count = 0;
  const gapless_status status = gapless_pool_live_blocks(core, device, pool_id(pool), live.data(), live.size(), &count);
  TORCH_CHECK(status != GAPLESS_ERROR_NOT_FOUND, "Could not find pool of id");
  check(status, "checkPoolLiveAllocations");
  return count == expected.size() &&
         std::all_of(live.begin(), live.end(), [&](void* block) { return expected.count(block) != 0; });
}

#if GAPLESS_TORCH_MINOR >= 13
// gapless asks the driver whether a stream captures; the marks add nothing.
void TorchAllocator::markCaptureBegin(DeviceIndex /*device*/) {}
void TorchAllocator::markCaptureEnd(DeviceIndex /*device*/) {}

DataPtr TorchAllocator::allocateWithAddress(size_t /*bytes*/, void* address) {
  TORCH_CHECK(false, "Could not allocate CUDA storage at exact address ", address,
              ": gapless does not place blocks at given addresses");
}
#endif

}  // namespace gapless::torch
