// SPDX-License-Identifier: Apache-2.0
// Checksums: blockIdx.y is the range, blockIdx.x walks its words; sums wrap, so their order is free.
#include <cub/block/block_reduce.cuh>

#include "grid.cuh"
#include "launches.hpp"
#include "logic/checksum.hpp"

namespace {
namespace k = gapless::kernels;
}

extern "C" __global__ void __launch_bounds__(k::kThreads) gapless_kernel_checksum(const k::ChecksumBatch batch) {
  using Reduce = cub::BlockReduce<unsigned long long, k::kThreads>;
  __shared__ typename Reduce::TempStorage storage;
  const gapless_checksum_range range = batch.ranges[blockIdx.y];
  const auto* const memory = reinterpret_cast<const unsigned char*>(range.address);
  const std::uint64_t words = k::checksum_word_count(range.bytes);
  unsigned long long sum = 0;
  for (std::uint64_t word = k::first_item(); word < words; word += k::item_stride()) {
    sum += k::checksum_term(memory, range.bytes, word);
  }
  sum = Reduce(storage).Sum(sum);
  if (threadIdx.x == 0 && sum != 0) atomicAdd(reinterpret_cast<unsigned long long*>(batch.sums + blockIdx.y), sum);
}

namespace gapless::kernels {

int launch_checksum(const ChecksumBatch& batch, int count, gapless_stream stream) {
  std::uint64_t longest = 0;
  for (int i = 0; i < count; ++i) {
    const std::uint64_t words = checksum_word_count(batch.ranges[i].bytes);
    if (words > longest) longest = words;
  }
  const dim3 grid(blocks_for(longest), static_cast<unsigned>(count));
  return launch(gapless_kernel_checksum, grid, kThreads, batch, stream);
}

int clear_sums(std::uint64_t* sums, std::size_t count, gapless_stream stream) {
  return fill(sums, 0, count * sizeof *sums, stream);
}

}  // namespace gapless::kernels
