// SPDX-License-Identifier: Apache-2.0
// Padding in two launches: a scan of the lengths says where sequences begin and whether all fit, then every cell is
// written.
#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>

#include "grid.cuh"
#include "launches.hpp"
#include "logic/pad.hpp"

namespace {

namespace k = gapless::kernels;

constexpr int kScanThreads = 512;

struct Minimum {
  __device__ __forceinline__ std::int64_t operator()(std::int64_t a, std::int64_t b) const { return a < b ? a : b; }
};

}  // namespace

// One block: a batch has thousands of sequences at most, and one pass over them is shorter than a second launch.
extern "C" __global__ void __launch_bounds__(kScanThreads) gapless_kernel_pad_scan(gapless_pad_batch batch) {
  using Scan = cub::BlockScan<std::int64_t, kScanThreads>;
  using Reduce = cub::BlockReduce<std::int64_t, kScanThreads>;
  __shared__ union {
    typename Scan::TempStorage scan;
    typename Reduce::TempStorage reduce;
  } storage;

  std::int64_t before = 0;           // tokens of the tiles that are done
  std::int64_t wrong = batch.count;  // lowest wrong row that this thread saw
  for (std::int64_t tile = 0; tile < batch.count; tile += kScanThreads) {
    const std::int64_t row = tile + threadIdx.x;
    const bool inside = row < batch.count;
    const std::int64_t term = inside ? k::pad_scan_term(batch, row) : 0;
    std::int64_t begin = 0;
    std::int64_t total = 0;
    Scan(storage.scan).ExclusiveSum(term, begin, total);
    __syncthreads();
    if (inside) {
      begin += before;
      k::pad_write_offset(batch, row, begin);
      if (row < wrong && k::pad_row_is_wrong(batch, row, begin + term)) wrong = row;
    }
    before += total;
  }
  wrong = Reduce(storage.reduce).Reduce(wrong, Minimum());
  if (threadIdx.x == 0) {
    k::pad_write_offset(batch, batch.count, before);
    batch.error->index = wrong < batch.count ? wrong : -1;
    batch.error->length = wrong < batch.count ? batch.lengths[wrong] : 0;
  }
}

extern "C" __global__ void __launch_bounds__(k::kThreads) gapless_kernel_pad_rows(gapless_pad_batch batch) {
  const bool failed = batch.error->index >= 0;
  for (std::int64_t row = blockIdx.y; row < batch.count; row += gridDim.y) {
    for (std::uint64_t column = k::first_item(); column < static_cast<std::uint64_t>(batch.length);
         column += k::item_stride()) {
      k::pad_cell(batch, row, static_cast<std::int64_t>(column), failed);
    }
  }
}

namespace gapless::kernels {

int launch_pad(const gapless_pad_batch& batch, gapless_stream stream) {
  if (const int error = launch(gapless_kernel_pad_scan, dim3(1), kScanThreads, batch, stream)) return error;
  if (batch.count == 0 || batch.length == 0) return 0;
  const dim3 grid(blocks_for(static_cast<std::uint64_t>(batch.length)),
                  static_cast<unsigned>(batch.count < kMaxBlocksY ? batch.count : kMaxBlocksY));
  return launch(gapless_kernel_pad_rows, grid, kThreads, batch, stream);
}

}  // namespace gapless::kernels
