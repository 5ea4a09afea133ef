// SPDX-License-Identifier: Apache-2.0
// A trainer with plain CUDA and CUB: a bag-of-tokens regression on sequences of varying length. Its memory, the
// temporary storage of CUB included, comes from gapless in stream order; a step that does not fit is redone in smaller
// parts.
//
//   ./cuda_trainer        without a GPU: gapless-sim --size 10MiB -- ./cuda_trainer (values are zeros there)
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cub/device/device_reduce.cuh>
#include <cub/device/device_scan.cuh>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "gapless/gapless.hpp"
#include "gapless/interop/cub.hpp"

namespace {

constexpr int kVocabulary = 4096;
constexpr int kWidth = 256;
constexpr int kRows = 4096;
constexpr int kLongest = 256;
constexpr float kRate = 1e-3f;

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

/// One row a block, one feature a thread: the mean of the row's embeddings.
__global__ void gather(const float* table, const int* tokens, const int* offsets, float* features) {
  const int row = blockIdx.x;
  float sum = 0;
  for (int at = offsets[row]; at < offsets[row + 1]; ++at) sum += table[tokens[at] * kWidth + threadIdx.x];
  features[row * kWidth + threadIdx.x] = sum / static_cast<float>(max(1, offsets[row + 1] - offsets[row]));
}

/// The target of a row is its length, so that there is something to learn.
__global__ void squared_errors(const float* features, const int* offsets, float* errors, float* residuals) {
  const int row = blockIdx.x;
  float predicted = 0;
  for (int i = 0; i < kWidth; ++i) predicted += features[row * kWidth + i];
  const float residual = predicted - static_cast<float>(offsets[row + 1] - offsets[row]) / kLongest;
  residuals[row] = residual;
  errors[row] = residual * residual;
}

__global__ void scatter(float* table, const int* tokens, const int* offsets, const float* residuals) {
  const int row = blockIdx.x;
  const float step = kRate * residuals[row] / static_cast<float>(max(1, offsets[row + 1] - offsets[row]));
  for (int at = offsets[row]; at < offsets[row + 1]; ++at) atomicAdd(&table[tokens[at] * kWidth + threadIdx.x], -step);
}

struct Batch {
  std::vector<int> lengths;
  std::vector<int> tokens;
};

Batch make_batch(std::mt19937& random) {
  Batch batch;
  std::uniform_int_distribution<int> length(1, kLongest);
  std::uniform_int_distribution<int> token(0, kVocabulary - 1);
  for (int row = 0; row < kRows; ++row) batch.lengths.push_back(length(random));
  for (const int each : batch.lengths)
    for (int i = 0; i < each; ++i) batch.tokens.push_back(token(random));
  return batch;
}

template <typename T>
gapless::Array<T> to_device(gapless::Device gpu, const T* from, std::size_t count, cudaStream_t stream) {
  gapless::Array<T> array = gpu.allocate_array<T>(count, stream);
  check(cudaMemcpyAsync(array.data(), from, count * sizeof(T), cudaMemcpyHostToDevice, stream), "copy");
  return array;
}

/// Rows [first, first + rows) of the batch. Returns their summed error.
float train_part(gapless::Device gpu, float* table, const Batch& batch, int first, int rows, cudaStream_t stream) {
  std::size_t token = 0;
  for (int row = 0; row < first; ++row) token += static_cast<std::size_t>(batch.lengths[row]);
  std::size_t count = 0;
  for (int row = first; row < first + rows; ++row) count += static_cast<std::size_t>(batch.lengths[row]);

  // The table is written last: when an allocation throws, the part has changed nothing.
  const auto tokens = to_device(gpu, batch.tokens.data() + token, count, stream);
  const auto lengths = to_device(gpu, batch.lengths.data() + first, static_cast<std::size_t>(rows), stream);
  const auto offsets = gpu.allocate_array<int>(static_cast<std::size_t>(rows) + 1, stream);
  const auto features = gpu.allocate_array<float>(static_cast<std::size_t>(rows) * kWidth, stream);
  const auto residuals = gpu.allocate_array<float>(static_cast<std::size_t>(rows), stream);
  const auto errors = gpu.allocate_array<float>(static_cast<std::size_t>(rows), stream);
  const auto sum = gpu.allocate_array<float>(1, stream);

  check(cudaMemsetAsync(offsets.data(), 0, sizeof(int), stream), "memset");
  check(gapless::interop::with_temporary_storage(
            gpu, stream,
            [&](void* storage, std::size_t& bytes) {
              return cub::DeviceScan::InclusiveSum(storage, bytes, lengths.data(), offsets.data() + 1, rows, stream);
            }),
        "scan");
  gather<<<rows, kWidth, 0, stream>>>(table, tokens.data(), offsets.data(), features.data());
  squared_errors<<<rows, 1, 0, stream>>>(features.data(), offsets.data(), errors.data(), residuals.data());
  check(gapless::interop::with_temporary_storage(gpu, stream,
                                                 [&](void* storage, std::size_t& bytes) {
                                                   return cub::DeviceReduce::Sum(storage, bytes, errors.data(),
                                                                                 sum.data(), rows, stream);
                                                 }),
        "sum");
  scatter<<<rows, kWidth, 0, stream>>>(table, tokens.data(), offsets.data(), residuals.data());
  check(cudaGetLastError(), "launch");

  float result = 0;
  check(cudaMemcpyAsync(&result, sum.data(), sizeof result, cudaMemcpyDeviceToHost, stream), "copy");
  check(cudaStreamSynchronize(stream), "synchronize");
  return result;
}

}  // namespace

int main() try {
  cudaStream_t stream = nullptr;
  check(cudaSetDevice(0), "cudaSetDevice");
  check(cudaStreamCreate(&stream), "cudaStreamCreate");
  gapless::Allocator allocator = gapless::Allocator::open();
  const gapless::Device gpu = allocator.device(0);
  {
    const auto table = gpu.allocate_array<float>(std::size_t{kVocabulary} * kWidth, stream);
    check(cudaMemsetAsync(table.data(), 0, table.size_bytes(), stream), "memset");

    std::mt19937 random(1);
    int rows = kRows;
    float loss = 0;
    for (int step = 0; step < 20; ++step) {
      const Batch batch = make_batch(random);
      loss = 0;
      for (int first = 0; first < kRows;) {
        try {
          const int part = std::min(rows, kRows - first);
          loss += train_part(gpu, table.data(), batch, first, part, stream);
          first += part;
        } catch (const gapless::OutOfMemory&) {
          if (rows == 1) throw;
          rows /= 2;  // this part again, smaller; those before it are done
        }
      }
    }
    const gapless::Stats stats = gpu.stats();
    std::printf("20 steps in parts of %d rows, loss %.3f, peak %lld KiB live, %lld allocations\n", rows, loss,
                static_cast<long long>(stats.allocated_bytes[GAPLESS_ALL].peak >> 10),
                static_cast<long long>(stats.allocation[GAPLESS_ALL].allocated));
  }
  gpu.forget_stream(stream);  // the allocator still knew it, for the memory that was used on it last
  check(cudaStreamDestroy(stream), "cudaStreamDestroy");
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
