// SPDX-License-Identifier: Apache-2.0
// Guards: blockIdx.y is the range, blockIdx.x walks its words.
#include <cub/block/block_reduce.cuh>

#include "grid.cuh"
#include "launches.hpp"
#include "logic/guard.hpp"

namespace {

namespace k = gapless::kernels;

__device__ __forceinline__ unsigned char* memory_of(const gapless_guard_range& range) {
  return reinterpret_cast<unsigned char*>(range.address);
}

struct Join {
  __device__ __forceinline__ gapless_guard_report operator()(const gapless_guard_report& a,
                                                             const gapless_guard_report& b) const {
    return {a.first_broken < b.first_broken ? a.first_broken : b.first_broken, a.broken_bytes + b.broken_bytes};
  }
};

}  // namespace

extern "C" __global__ void __launch_bounds__(k::kThreads) gapless_kernel_guard_fill(const k::GuardBatch batch) {
  const gapless_guard_range range = batch.ranges[blockIdx.y];
  const std::uint64_t words = k::guard_word_count(range);
  for (std::uint64_t word = k::first_item(); word < words; word += k::item_stride()) {
    k::guard_fill_word(range, memory_of(range), word);
  }
}

extern "C" __global__ void __launch_bounds__(k::kThreads) gapless_kernel_guard_check(const k::GuardBatch batch) {
  using Reduce = cub::BlockReduce<gapless_guard_report, k::kThreads>;
  __shared__ typename Reduce::TempStorage storage;
  const gapless_guard_range range = batch.ranges[blockIdx.y];
  const std::uint64_t words = k::guard_word_count(range);
  gapless_guard_report seen = {~0ULL, 0};
  for (std::uint64_t word = k::first_item(); word < words; word += k::item_stride()) {
    seen = Join()(seen, k::guard_check_word(range, memory_of(range), word));
  }
  seen = Reduce(storage).Reduce(seen, Join());
  if (threadIdx.x == 0 && seen.broken_bytes != 0) {
    static_assert(sizeof(unsigned long long) == sizeof(std::uint64_t), "atomics are declared for unsigned long long");
    atomicMin(reinterpret_cast<unsigned long long*>(&batch.report->first_broken), seen.first_broken);
    atomicAdd(reinterpret_cast<unsigned long long*>(&batch.report->broken_bytes), seen.broken_bytes);
  }
}

namespace gapless::kernels {

namespace {

dim3 grid_of(const GuardBatch& batch, int count) {
  std::uint64_t longest = 0;
  for (int i = 0; i < count; ++i) {
    const std::uint64_t words = guard_word_count(batch.ranges[i]);
    if (words > longest) longest = words;
  }
  return dim3(blocks_for(longest), static_cast<unsigned>(count));
}

}  // namespace

int launch_guard_fill(const GuardBatch& batch, int count, gapless_stream stream) {
  return launch(gapless_kernel_guard_fill, grid_of(batch, count), kThreads, batch, stream);
}

int launch_guard_check(const GuardBatch& batch, int count, gapless_stream stream) {
  return launch(gapless_kernel_guard_check, grid_of(batch, count), kThreads, batch, stream);
}

int clear_report(gapless_guard_report* report, gapless_stream stream) {
  if (const int error = fill(&report->first_broken, 0xff, sizeof report->first_broken, stream)) return error;
  return fill(&report->broken_bytes, 0, sizeof report->broken_bytes, stream);
}

}  // namespace gapless::kernels
