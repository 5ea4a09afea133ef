// SPDX-License-Identifier: Apache-2.0
//
// PyTorch's allocator interface over gapless.h: the one object that PyTorch sees in place of its own allocator.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "compat.hpp"
#include "gapless/gapless.h"
#include "history.hpp"

namespace gapless::torch {

/// Every virtual of c10::cuda::CUDACachingAllocator::CUDAAllocator for the PyTorch minor it is compiled for.
///
/// One object a process, made by install(), never destroyed: tensors die after static destructors have run. All
/// functions may be called from any thread. Memory is stream-ordered as gapless.h says. Failures arrive as PyTorch's
/// own exceptions: c10::OutOfMemoryError with PyTorch's text, c10::AcceleratorError for CUDA errors, c10::Error
/// otherwise.
class TorchAllocator final : public cca::CUDAAllocator {
 public:
  /// The process's object, made on the first call. `previous` is the allocator that serves pointers which are not ours,
  /// and takes over again when a device turns out to be unusable; it may be null, and only the first call's counts.
  static TorchAllocator& create(cca::CUDAAllocator* previous);
  /// Null before create().
  static TorchAllocator* existing() noexcept { return instance_; }

  /// Null until init() succeeded.
  gapless_allocator* core() const noexcept { return core_.load(std::memory_order_acquire); }
  /// True once init() found a device that gapless cannot serve and the previous allocator was put back.
  bool handed_back() const noexcept { return handed_back_.load(std::memory_order_acquire); }
  cca::CUDAAllocator* previous() const noexcept { return previous_; }

  /// raw_alloc_with_stream on a named device, without asking which one is current.
  void* allocate_on(DeviceIndex device, size_t bytes, cudaStream_t stream);
  /// Device memory straight from cudaMalloc, of the current device; raw_delete gives it to cudaFree.
  void* allocate_uncached(size_t bytes);
  /// Is this thread in the allocator that a MemPool was made with, which one of our pools asked for a segment?
  static bool in_pool_source() noexcept;
  /// setMemoryFraction on each device that init() made known.
  void limit_all_devices(double fraction);

  // ---- c10::Allocator                                                                         allocate.cpp
  DataPtr allocate(size_t bytes) override;
  c10::DeleterFnPtr raw_deleter() const override;
  void copy_data(void* destination, const void* source, size_t bytes) const override;

  // ---- blocks                                                                                 allocate.cpp
  void* raw_alloc(size_t bytes) override;
  void* raw_alloc_with_stream(size_t bytes, cudaStream_t stream) override;
  void raw_delete(void* pointer) override;
  void enable(bool value) override;
  bool isEnabled() const override;
  void recordStream(const DataPtr& pointer, c10::cuda::CUDAStream stream) override;
  void* getBaseAllocation(void* pointer, size_t* bytes) override;
  std::string name() override;

  // ---- start, configuration                                                                   init.cpp
  bool initialized() override;
  void init(int device_count) override;

  // ---- limits, trimming                                                                       limits.cpp
  double getMemoryFraction(DeviceIndex device) override;
  void setMemoryFraction(double fraction, DeviceIndex device) override;
  void emptyCache(MempoolId_t pool = {0, 0}) override;
  void cacheInfo(DeviceIndex device, size_t* largest) override;

  // ---- statistics                                                                             stats.cpp
  cca::DeviceStats getDeviceStats(DeviceIndex device) override;
  void resetAccumulatedStats(DeviceIndex device) override;
  void resetPeakStats(DeviceIndex device) override;

  // ---- snapshot                                                                               snapshot.cpp
#if GAPLESS_TORCH_MINOR >= 11
  cca::SnapshotInfo snapshot(MempoolId_t pool = {0, 0}, bool include_traces = true) override;
#else
  cca::SnapshotInfo snapshot(MempoolId_t pool = {0, 0}) override;
#endif
#if GAPLESS_TORCH_MINOR >= 10
  std::vector<cca::StreamSegmentSize> getExpandableSegmentSizes(DeviceIndex device) override;
#endif

  // ---- history                                                                                recording.cpp
  bool isHistoryEnabled() override;
#if GAPLESS_TORCH_MINOR >= 11
  void recordHistory(bool enabled, cca::CreateContextFn gather, size_t max_entries, cca::RecordContext when, bool clear,
                     const std::vector<std::string>& skip_actions) override;
#else
  void recordHistory(bool enabled, cca::CreateContextFn gather, size_t max_entries, cca::RecordContext when,
                     bool clear) override;
#endif
  void recordAnnotation(const std::vector<std::pair<std::string, std::string>>& metadata) override;
  void pushCompileContext(std::string& context) override;
  void popCompileContext() override;
#if GAPLESS_TORCH_MINOR >= 10
  void setUserMetadata(const std::string& metadata) override;
  std::string getUserMetadata() override;
#endif
#if GAPLESS_TORCH_MINOR >= 12
  std::shared_ptr<GatheredContext> getContextForPointer(const void* pointer) override;
#endif
#if GAPLESS_TORCH_MINOR >= 14
  bool supportsUserMetadata() override;
  void annotateMemory(const void* pointer, const std::string& metadata) override;
#endif
  void attachAllocatorTraceTracker(cca::AllocatorTraceTracker tracker) override;

  // ---- pools                                                                                  pools.cpp
  void beginAllocateToPool(DeviceIndex device, MempoolId_t pool, std::function<bool(cudaStream_t)> filter) override;
  void endAllocateToPool(DeviceIndex device, MempoolId_t pool) override;
  void releasePool(DeviceIndex device, MempoolId_t pool) override;
  int getPoolUseCount(DeviceIndex device, MempoolId_t pool) override;
  void createOrIncrefPool(DeviceIndex device, MempoolId_t pool, PoolSegmentAllocator allocator = nullptr) override;
#if GAPLESS_TORCH_MINOR >= 11
  void setUseOnOOM(DeviceIndex device, MempoolId_t pool, bool use_on_oom) override;
#else
  void setUseOnOOM(DeviceIndex device, MempoolId_t pool) override;
#endif
#if GAPLESS_TORCH_MINOR >= 10
  void setNoSplit(DeviceIndex device, MempoolId_t pool) override;
#endif
  bool checkPoolLiveAllocations(DeviceIndex device, MempoolId_t pool,
                                const std::unordered_set<void*>& expected) override;
#if GAPLESS_TORCH_MINOR >= 13
  void markCaptureBegin(DeviceIndex device) override;
  void markCaptureEnd(DeviceIndex device) override;
  DataPtr allocateWithAddress(size_t bytes, void* address) override;
#endif

  // ---- checkpoints of pools                                                                   checkpoint.cpp
  std::shared_ptr<cca::AllocatorState> getCheckpointState(DeviceIndex device, MempoolId_t pool) override;
  cca::CheckpointDelta setCheckpointPoolState(DeviceIndex device, std::shared_ptr<cca::AllocatorState> state) override;

  // ---- other processes, other devices                                                         sharing.cpp
  cca::ShareableHandle shareIpcHandle(void* pointer) override;
  std::shared_ptr<void> getIpcDevPtr(std::string handle) override;
  void enablePeerAccess(DeviceIndex device, DeviceIndex device_to_access) override;
  cudaError_t memcpyAsync(void* destination, int destination_device, const void* source, int source_device,
                          size_t bytes, cudaStream_t stream, bool p2p_enabled) override;

  // ---- out of memory                                                                          oom.cpp
  void attachOutOfMemoryObserver(cca::OutOfMemoryObserver observer) override;
#if GAPLESS_TORCH_MINOR >= 12
  void attachOomRejectionObserver(cca::OomRejectionObserver observer) override;
#endif

 private:
  /// Reasons to leave the straight path; 0 in a normal run, so that one predicted branch covers them all.
  enum Detour : uint32_t { kNotReady = 1, kUncached = 2, kGathering = 4 };

  explicit TorchAllocator(cca::CUDAAllocator* previous) : previous_(previous) {}

  // The functions that every DataPtr of ours carries. They run in destructors: they never throw.
  static void delete_cached(void* pointer) noexcept;
  static void delete_uncached(void* pointer) noexcept;

  uint32_t detours() const noexcept {
    return detours_.load(std::memory_order_acquire);
  }
  void set_detour(Detour reason, bool on) noexcept;
  void* allocate_by_detour(DeviceIndex device, size_t bytes, cudaStream_t stream);
  void deallocate_by_detour(void* pointer);
  void deallocate_observed(void* pointer);
  void deallocate_foreign(void* pointer);
  bool deallocate_uncached(void* pointer);

  /// Turns a failed gapless_allocate of this thread into the exception PyTorch would throw.
  [[noreturn]] void raise_allocation_failure(gapless_status status, DeviceIndex device, size_t bytes,
                                             cudaStream_t stream);
  [[noreturn]] void raise_out_of_memory(DeviceIndex device, size_t bytes, cudaStream_t stream);

  /// Throws as native does when init() has not made `device` known.
  gapless_allocator* core_for(DeviceIndex device,
                              const char* complaint = "Allocator not initialized for device ") const;
  void start(int device_count);
  void open_core();
  void hand_back(const std::string& why);
  void apply_history();
  std::optional<double> fraction_of(DeviceIndex device) const;

  inline static TorchAllocator* instance_ = nullptr;

  std::atomic<uint32_t> detours_{kNotReady};
  std::atomic<gapless_allocator*> core_{nullptr};
  cca::CUDAAllocator* const previous_;
  std::atomic<int> device_count_{0};
  std::atomic<bool> handed_back_{false};

  std::mutex start_mutex_;  // init(), hand_back(), apply_history()
  History history_;

  mutable std::mutex mutex_;  // what follows; never held while calling anything outside this object
  std::vector<std::optional<double>> fractions_;
  std::vector<cca::OutOfMemoryObserver> observers_;
  std::unordered_set<void*> uncached_;
  std::unordered_map<std::string, std::weak_ptr<void>> imported_;
};

}  // namespace gapless::torch
