// SPDX-License-Identifier: Apache-2.0
// An input pipeline: batches of varying length, padded on the device by one stream while another trains, at addresses
// that stay.
//
// Runs wherever libcuda.so.1 and the CUDA runtime are found; without a GPU under `gapless-sim -- ./input_pipeline`.
#include <cstdint>
#include <cstdio>
#include <set>
#include <vector>

#include "gapless/gapless.hpp"

namespace {

// Stands for the kernels of a step that read the batch.
void train(const std::int64_t*, const std::int64_t*, const std::int64_t*, gapless::Stream) {}

}  // namespace

int main() try {
  gapless::Allocator allocator = gapless::Allocator::open();
  const gapless::Device gpu = allocator.device(0);
  const gapless::Stream copy_stream = reinterpret_cast<gapless::Stream>(2);  // this thread's default stream
  const gapless::Stream compute_stream = nullptr;

  gapless::ConstantPool pool = gpu.make_constant_pool();  // two buffers for each shape
  std::set<const std::int64_t*> addresses;
  for (int step = 0; step < 100; ++step) {
    std::vector<std::int64_t> lengths(32);
    std::vector<std::int64_t> tokens;  // the sequences, one after the other
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      lengths[i] = 1 + (step * 37 + static_cast<int>(i) * 101) % 1024;
      tokens.insert(tokens.end(), static_cast<std::size_t>(lengths[i]), 7);
    }

    gapless::RaggedBatch batch = GAPLESS_STRUCT(gapless_ragged_batch);
    batch.tokens = tokens.data();
    batch.lengths = lengths.data();
    batch.count = 32;
    batch.to = GAPLESS_PAD_TO_LENGTH;
    batch.value = 1024;
    batch.pad_id = 50256;
    batch.ignore_index = -100;
    batch.outputs = GAPLESS_PADDED_MASK | GAPLESS_PADDED_LABELS;
    gapless::PaddedBatch padded = pool.pad(batch, copy_stream);  // enqueued, not waited for
    padded.lease().pass(compute_stream);                         // compute waits for the copy stream, on the device
    train(padded.tokens(), padded.mask(), padded.labels(), compute_stream);
    addresses.insert(padded.tokens());  // at the end of its scope the buffer is free again, behind `train`
  }
  std::printf("100 batches at %zu addresses, %llu bytes of buffers\n", addresses.size(),
              static_cast<unsigned long long>(pool.stats().bytes));
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
