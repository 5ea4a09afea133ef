// SPDX-License-Identifier: Apache-2.0
//
// torch.cuda.memory_snapshot(), and the views of the layout that other parts of PyTorch ask for.
#include "allocator.hpp"
#include "check.hpp"

#include <c10/cuda/CUDAAllocatorConfig.h>

namespace gapless::torch {

namespace {

// Collects what gapless walks. The callbacks come from C: an exception (no host memory) is kept and thrown afterwards.
struct Collector {
  const History& history;
  std::vector<cca::SegmentInfo> segments;
  std::exception_ptr failure;

  static int32_t on_segment(void* user, const gapless_segment_view* view) {
    return static_cast<Collector*>(user)->guarded([view](Collector& self) { self.add_segment(*view); });
  }
  static int32_t on_block(void* user, const gapless_block_view* view) {
    return static_cast<Collector*>(user)->guarded([view](Collector& self) { self.add_block(*view); });
  }

  template <typename Step>
  int32_t guarded(Step step) {
    try {
      step(*this);
      return 0;
    } catch (...) {
      failure = std::current_exception();
      return 1;
    }
  }

  void add_segment(const gapless_segment_view& view) {
    cca::SegmentInfo& segment = segments.emplace_back();
    segment.device = static_cast<DeviceIndex>(view.device);
    segment.address = view.address;
    segment.stream = static_cast<decltype(segment.stream)>(view.stream);
    segment.is_large = view.is_small == 0;
    segment.is_expandable = view.is_expandable != 0;
    segment.owner_private_pool_id = mempool_id(view.pool);
    segment.context_when_allocated = history.segment_context(view.address);
  }

  void add_block(const gapless_block_view& view) {
    cca::SegmentInfo& segment = segments.back();
    cca::BlockInfo& block = segment.blocks.emplace_back();
    block.size = view.bytes;
    block.requested_size = view.requested_bytes;
    block.allocated = view.state == GAPLESS_BLOCK_ALLOCATED;
    block.active = view.state != GAPLESS_BLOCK_FREE;
    block.context_when_allocated = history.block_context(view.cookie);
    segment.total_size += block.size;
    if (block.allocated) segment.allocated_size += block.size;
    if (block.active) {
      segment.active_size += block.size;
      segment.requested_size += block.requested_size;
    }
  }
};

std::vector<cca::SegmentInfo> walk(gapless_allocator* core, int device, const gapless_pool_id* pool,
                                   const History& history) {
  Collector collector{history, {}, nullptr};
  gapless_snapshot_visitor visitor = GAPLESS_STRUCT(gapless_snapshot_visitor);
  visitor.user = &collector;
  visitor.on_segment = &Collector::on_segment;
  visitor.on_block = &Collector::on_block;
  check(gapless_walk_snapshot(core, device, pool, &visitor), "snapshot");
  if (collector.failure) std::rethrow_exception(collector.failure);
  return std::move(collector.segments);
}

cca::AllocatorConfigInfo configuration() {
  using Accelerator = c10::CachingAllocator::AcceleratorAllocatorConfig;
  cca::AllocatorConfigInfo info{};  // the struct has no default values
  info.garbage_collection_threshold = Accelerator::garbage_collection_threshold();
  info.max_split_size = Accelerator::max_split_size();
  info.pinned_num_register_threads = cca::CUDAAllocatorConfig::pinned_num_register_threads();
#if GAPLESS_TORCH_MINOR >= 10
  // CUDAAllocatorConfig's question is inline, and answers no to whoever was compiled outside of PyTorch's own build.
  info.expandable_segments = Accelerator::use_expandable_segments();
#else
  info.expandable_segments = cca::CUDAAllocatorConfig::expandable_segments();
#endif
  info.release_lock_on_malloc = cca::CUDAAllocatorConfig::release_lock_on_cudamalloc();
  info.pinned_use_host_register = cca::CUDAAllocatorConfig::pinned_use_cuda_host_register();
#if GAPLESS_TORCH_MINOR >= 10
  info.graph_capture_record_stream_reuse = cca::CUDAAllocatorConfig::graph_capture_record_stream_reuse();
#endif
  info.last_allocator_settings = c10::CachingAllocator::getAllocatorSettings();
  info.roundup_power2_divisions = Accelerator::roundup_power2_divisions();
  return info;
}

}  // namespace

#if GAPLESS_TORCH_MINOR >= 11
cca::SnapshotInfo TorchAllocator::snapshot(MempoolId_t pool, bool include_traces) {
#else
cca::SnapshotInfo TorchAllocator::snapshot(MempoolId_t pool) {
  const bool include_traces = true;
#endif
  gapless_allocator* const core = this->core();
  cca::SnapshotInfo result{};
  result.config_metadata = configuration();
  const int devices = device_count_.load(std::memory_order_acquire);
  // One list for each device even when traces are not wanted: Python indexes it by device.
  result.device_traces.resize(static_cast<size_t>(devices));
  if (core == nullptr) return result;
  if (include_traces) result.external_annotations = history_.annotations();
  // (0, 0) asks for everything here, not for the default pool.
  const gapless_pool_id wanted = pool_id(pool);
  const bool everything = pool == MempoolId_t{0, 0};
  for (int device = 0; device < devices; ++device) {
    const auto index = static_cast<DeviceIndex>(device);
    if (include_traces) result.device_traces[static_cast<size_t>(device)] = history_.trace(index);
    std::vector<cca::SegmentInfo> segments = walk(core, device, everything ? nullptr : &wanted, history_);
    size_t active = 0;
    for (const cca::SegmentInfo& segment : segments) active += segment.active_size;
    std::move(segments.begin(), segments.end(), std::back_inserter(result.segments));
    if (history_.enabled()) {
      history_.add(cca::TraceEntry::Action::SNAPSHOT, index, 0, active, nullptr, pool, nullptr);
    }
  }
  return result;
}

#if GAPLESS_TORCH_MINOR >= 10
std::vector<cca::StreamSegmentSize> TorchAllocator::getExpandableSegmentSizes(DeviceIndex device) {
  std::vector<cca::StreamSegmentSize> sizes;
  for (const cca::SegmentInfo& segment : walk(core_for(device), device, nullptr, history_)) {
    if (!segment.is_expandable) continue;
    const auto stream = static_cast<cudaStream_t>(segment.stream);
    const auto same = [&](const cca::StreamSegmentSize& size) {
      return size.stream == stream && size.is_small_pool == !segment.is_large;
    };
    auto known = std::find_if(sizes.begin(), sizes.end(), same);
    if (known == sizes.end()) known = sizes.emplace(sizes.end(), stream, !segment.is_large, size_t{0});
    known->total_size += segment.total_size;
  }
  return sizes;
}
#endif

}  // namespace gapless::torch
