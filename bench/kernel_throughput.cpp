// SPDX-License-Identifier: Apache-2.0
// How fast the kernels of libgapless_kernels.so are on the GPU at hand, beside a copy on the device:
//
//     kernel_throughput [--mib N] [--rounds N]        (defaults: 256 and 20)
//
// One line each: bytes that the kernel reads and writes, the least time of the rounds, GB/s, and its share of what the
// copy moves. Times are events on the device. On the simulated device it runs, and says that its times mean nothing.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "gapless_kernels.h"

namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}
void check(gapless_status status, const char* what) {
  if (status == GAPLESS_OK) return;
  std::fprintf(stderr, "%s: %s\n", what, gapless_kernels_last_error());
  std::exit(1);
}

template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count) {
    check(cudaMalloc(reinterpret_cast<void**>(&data_), std::max<std::size_t>(count, 1) * sizeof(T)), "cudaMalloc");
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    check(cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* get() const { return data_; }

 private:
  T* data_ = nullptr;
};

// The least milliseconds of the rounds; a first one, which loads the kernel, does not count.
template <typename Work>
double least_milliseconds(int rounds, Work work) {
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  check(cudaEventCreate(&begin), "cudaEventCreate");
  check(cudaEventCreate(&end), "cudaEventCreate");
  double least = std::numeric_limits<double>::max();
  for (int round = 0; round <= rounds; ++round) {
    check(cudaEventRecord(begin, nullptr), "cudaEventRecord");
    work();
    check(cudaEventRecord(end, nullptr), "cudaEventRecord");
    check(cudaEventSynchronize(end), "cudaEventSynchronize");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
    if (round > 0) least = std::min(least, static_cast<double>(milliseconds));
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return least;
}

class Table {
 public:
  explicit Table(int rounds) : rounds_(rounds) {
    std::printf("%-28s %10s %10s %9s %8s\n", "kernel", "MiB moved", "ms", "GB/s", "of copy");
  }
  template <typename Work>
  void line(const char* name, double bytes, Work work) {
    const double milliseconds = least_milliseconds(rounds_, work);
    const double rate = milliseconds > 0 ? bytes / milliseconds / 1e6 : 0;
    if (copy_ == 0) copy_ = rate;
    std::printf("%-28s %10.1f %10.4f %9.1f %7.0f%%\n", name, bytes / (1 << 20), milliseconds, rate,
                copy_ > 0 ? 100 * rate / copy_ : 0);
  }

 private:
  int rounds_;
  double copy_ = 0;
};

void guards_and_checksums(Table& table, std::uint64_t bytes) {
  const DeviceArray<unsigned char> memory(bytes);
  const DeviceArray<unsigned char> other(bytes);
  const DeviceArray<gapless_guard_report> report(1);
  const DeviceArray<std::uint64_t> sums(64);
  const auto address = reinterpret_cast<std::uintptr_t>(memory.get());
  const auto size = static_cast<double>(bytes);
  table.line("copy on the device", 2 * size, [&] {
    check(cudaMemcpyAsync(other.get(), memory.get(), bytes, cudaMemcpyDeviceToDevice, nullptr), "copy");
  });
  const gapless_guard_range whole{address, bytes, 7};
  table.line("guard fill", size, [&] { check(gapless_kernels_guard_fill(&whole, 1, nullptr), "guard fill"); });
  table.line("guard check", size,
             [&] { check(gapless_kernels_guard_check(&whole, 1, report.get(), nullptr), "guard check"); });
  const gapless_checksum_range range{address, bytes};
  table.line("checksum", size, [&] { check(gapless_kernels_checksum(&range, 1, sums.get(), nullptr), "checksum"); });
  std::vector<gapless_checksum_range> many;
  for (std::uint64_t i = 0; i < 64; ++i) many.push_back({address + i * (bytes / 64), bytes / 64});
  table.line("checksum of 64 ranges", size,
             [&] { check(gapless_kernels_checksum(many.data(), many.size(), sums.get(), nullptr), "checksum"); });
}

void padding(Table& table, std::uint64_t bytes) {
  // Rows of 2048, three quarters full on average; five arrays are written and one read.
  constexpr std::int64_t kLength = 2048;
  const auto rows = std::max<std::int64_t>(1, static_cast<std::int64_t>(bytes / (6 * kLength * 8)));
  std::vector<std::int64_t> lengths(static_cast<std::size_t>(rows));
  std::int64_t total = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t length = kLength / 2 + (row * 977) % (kLength / 2 + 1);
    lengths[static_cast<std::size_t>(row)] = length;
    total += length;
  }
  const auto cells = static_cast<std::size_t>(rows * kLength);
  const DeviceArray<std::int64_t> tokens(std::vector<std::int64_t>(static_cast<std::size_t>(total), 5));
  const DeviceArray<std::int64_t> device_lengths(lengths);
  const DeviceArray<std::int64_t> out_tokens(cells), out_mask(cells), out_positions(cells), out_labels(cells);
  const DeviceArray<std::int64_t> offsets(lengths.size() + 1);
  const DeviceArray<std::int32_t> cu_seqlens(lengths.size() + 1);
  const DeviceArray<gapless_pad_error> error(1);
  gapless_pad_batch batch = GAPLESS_STRUCT(gapless_pad_batch);
  batch.tokens = tokens.get();
  batch.lengths = device_lengths.get();
  batch.count = rows;
  batch.length = kLength;
  batch.ignore_index = -100;
  batch.out_tokens = out_tokens.get();
  batch.offsets = offsets.get();
  batch.error = error.get();
  const auto read = static_cast<double>(total * 8);
  const auto written = static_cast<double>(cells * 8);
  table.line("pad tokens", read + written, [&] { check(gapless_kernels_pad(&batch, nullptr), "pad"); });
  batch.out_mask = out_mask.get();
  batch.out_positions = out_positions.get();
  batch.out_labels = out_labels.get();
  batch.out_cu_seqlens = cu_seqlens.get();
  table.line("pad, all outputs", 2 * read + 4 * written, [&] { check(gapless_kernels_pad(&batch, nullptr), "pad"); });
  batch.left = 1;
  table.line("pad on the left, all outputs", 2 * read + 4 * written,
             [&] { check(gapless_kernels_pad(&batch, nullptr), "pad"); });
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t mib = 256;
  int rounds = 20;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--mib") == 0) mib = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--rounds") == 0) rounds = std::atoi(argv[i + 1]);
  }
  if (argc % 2 == 0 || mib == 0 || mib > (1U << 20) || rounds < 1) {
    std::fprintf(stderr, "usage: %s [--mib N] [--rounds N]\n", argv[0]);
    return 2;
  }
  if (gapless_kernels_register_simulation() == 1)
    std::printf("simulated device: the kernels run on the CPU, and these times mean nothing\n");
  Table table(rounds);
  guards_and_checksums(table, mib << 20);
  padding(table, mib << 20);
  return 0;
}
