// SPDX-License-Identifier: Apache-2.0
// libgapless_kernels.so as it is used: opened at run time, launches through the CUDA runtime, here the simulated one.
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "cpu/run.hpp"
#include "gapless_kernels.h"
#include "simcuda/gapless_sim.h"

namespace {

void* runtime = nullptr;
void* kernels = nullptr;

template <typename Function>
Function* find(void* library, const char* name) {
  return reinterpret_cast<Function*>(dlsym(library, name));
}
#define RUNTIME(function) find<decltype(function)>(runtime, #function)
#define KERNELS(function) find<decltype(function)>(kernels, #function)

// `bytes` of device memory, filled by a copy from the host and read back by another.
class DeviceBytes {
 public:
  explicit DeviceBytes(std::size_t bytes) : bytes_(bytes) {
    EXPECT_EQ((RUNTIME(cudaMalloc))(&data_, bytes == 0 ? 1 : bytes), cudaSuccess);
  }
  template <typename T>
  explicit DeviceBytes(const std::vector<T>& values) : DeviceBytes(values.size() * sizeof(T)) {
    EXPECT_EQ(RUNTIME(cudaMemcpy)(data_, values.data(), bytes_, cudaMemcpyHostToDevice), cudaSuccess);
  }
  ~DeviceBytes() { RUNTIME(cudaFree)(data_); }
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::uint64_t address() const { return reinterpret_cast<std::uintptr_t>(data_); }
  template <typename T>
  std::vector<T> read() const {
    std::vector<T> values(bytes_ / sizeof(T));
    EXPECT_EQ(RUNTIME(cudaMemcpy)(values.data(), data_, bytes_, cudaMemcpyDeviceToHost), cudaSuccess);
    return values;
  }

 private:
  std::size_t bytes_;
  void* data_ = nullptr;
};

TEST(KernelLibrary, FindsTheSimulation) {
  EXPECT_EQ(KERNELS(gapless_kernels_register_simulation)(), 1);
}

TEST(KernelLibrary, Pads) {
  const DeviceBytes tokens(std::vector<std::int64_t>{11, 12, 13, 21, 31, 32});
  const DeviceBytes lengths(std::vector<std::int64_t>{3, 1, 2});
  const DeviceBytes out_tokens(12 * 8);
  const DeviceBytes out_mask(12 * 8);
  const DeviceBytes out_positions(12 * 8);
  const DeviceBytes out_labels(12 * 8);
  const DeviceBytes cu_seqlens(4 * 4);
  const DeviceBytes offsets(4 * 8);
  const DeviceBytes error(sizeof(gapless_pad_error));
  gapless_pad_batch batch = GAPLESS_STRUCT(gapless_pad_batch);
  batch.tokens = tokens.as<std::int64_t>();
  batch.lengths = lengths.as<std::int64_t>();
  batch.count = 3;
  batch.length = 4;
  batch.pad_id = 9;
  batch.ignore_index = -100;
  batch.out_tokens = out_tokens.as<std::int64_t>();
  batch.out_mask = out_mask.as<std::int64_t>();
  batch.out_positions = out_positions.as<std::int64_t>();
  batch.out_labels = out_labels.as<std::int64_t>();
  batch.out_cu_seqlens = cu_seqlens.as<std::int32_t>();
  batch.offsets = offsets.as<std::int64_t>();
  batch.error = error.as<gapless_pad_error>();
  ASSERT_EQ(KERNELS(gapless_kernels_pad)(&batch, nullptr), GAPLESS_OK) << KERNELS(gapless_kernels_last_error)();
  using Longs = std::vector<std::int64_t>;
  EXPECT_EQ(out_tokens.read<std::int64_t>(), (Longs{11, 12, 13, 9, 21, 9, 9, 9, 31, 32, 9, 9}));
  EXPECT_EQ(out_mask.read<std::int64_t>(), (Longs{1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0, 0}));
  EXPECT_EQ(out_positions.read<std::int64_t>(), (Longs{0, 1, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0}));
  EXPECT_EQ(out_labels.read<std::int64_t>(), (Longs{11, 12, 13, -100, 21, -100, -100, -100, 31, 32, -100, -100}));
  EXPECT_EQ(cu_seqlens.read<std::int32_t>(), (std::vector<std::int32_t>{0, 3, 4, 6}));
  EXPECT_EQ(error.read<gapless_pad_error>()[0].index, -1);

  // A caller that knows more fields than this library, and one that knows fewer: here the last field it needs.
  struct {
    gapless_pad_batch known;
    std::int64_t of_a_later_version;
  } longer{batch, 77};
  longer.known.struct_size = sizeof longer;
  EXPECT_EQ(KERNELS(gapless_kernels_pad)(&longer.known, nullptr), GAPLESS_OK);
  gapless_pad_batch shorter = batch;
  shorter.struct_size = offsetof(gapless_pad_batch, error);
  EXPECT_EQ(KERNELS(gapless_kernels_pad)(&shorter, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_STREQ(KERNELS(gapless_kernels_last_error)(), "offsets or error is NULL");

  batch.length = 2;
  ASSERT_EQ(KERNELS(gapless_kernels_pad)(&batch, nullptr), GAPLESS_OK);
  EXPECT_EQ(error.read<gapless_pad_error>()[0].index, 0);
  EXPECT_EQ(error.read<gapless_pad_error>()[0].length, 3);
}

TEST(KernelLibrary, GuardsFindTheBrokenByte) {
  constexpr std::uint64_t kBytes = 100000;
  const DeviceBytes memory(kBytes);
  const DeviceBytes report(sizeof(gapless_guard_report));
  // More ranges than one launch carries, unaligned, with gaps.
  std::vector<gapless_guard_range> ranges;
  for (std::uint64_t i = 0; i < 150; ++i) ranges.push_back({memory.address() + i * 600 + i % 9, i * 3, i});
  const auto check = [&] {
    EXPECT_EQ(
        KERNELS(gapless_kernels_guard_check)(ranges.data(), ranges.size(), report.as<gapless_guard_report>(), nullptr),
        GAPLESS_OK);
    return report.read<gapless_guard_report>()[0];
  };
  ASSERT_EQ(KERNELS(gapless_kernels_guard_fill)(ranges.data(), ranges.size(), nullptr), GAPLESS_OK);
  EXPECT_EQ(check().broken_bytes, 0U);
  EXPECT_EQ(check().first_broken, ~0ULL);

  for (const std::size_t i : {std::size_t{120}, std::size_t{70}}) {
    const std::uint64_t address = ranges[i].address + ranges[i].bytes - 1;
    const auto wrong = static_cast<unsigned char>(~KERNELS(gapless_kernels_guard_byte)(address, ranges[i].seed));
    ASSERT_EQ(RUNTIME(cudaMemcpy)(reinterpret_cast<void*>(address), &wrong, 1, cudaMemcpyHostToDevice), cudaSuccess);
    EXPECT_EQ(check().first_broken, address) << "the lowest of all";
  }
  EXPECT_EQ(check().broken_bytes, 2U);
}

TEST(KernelLibrary, ChecksumsFollowTheBytes) {
  std::vector<unsigned char> bytes(5000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(i * 7 + i / 256);
  const DeviceBytes memory(bytes);
  std::vector<gapless_checksum_range> ranges;
  std::vector<std::uint64_t> expected;
  for (std::uint64_t i = 0; i < 100; ++i) {
    ranges.push_back({memory.address() + i, i * 40});
    expected.push_back(gapless::kernels::cpu::run_checksum(bytes.data() + i, i * 40));
  }
  const DeviceBytes sums(ranges.size() * 8);
  for (int round = 0; round < 2; ++round) {
    ASSERT_EQ(KERNELS(gapless_kernels_checksum)(ranges.data(), ranges.size(), sums.as<std::uint64_t>(), nullptr),
              GAPLESS_OK);
    EXPECT_EQ(sums.read<std::uint64_t>(), expected) << "round " << round;
  }
}

TEST(KernelLibrary, PadLengths) {
  const auto pad_length = KERNELS(gapless_kernels_pad_length);
  const std::vector<std::int64_t> lengths = {3, 0, 65, 64};
  const auto count = static_cast<std::int64_t>(lengths.size());
  std::int64_t out = -1;
  gapless_pad_error error{};
  EXPECT_EQ(pad_length(lengths.data(), count, GAPLESS_PAD_TO_LONGEST, 0, &out, &error), GAPLESS_OK);
  EXPECT_EQ(out, 65);
  EXPECT_EQ(pad_length(lengths.data(), count, GAPLESS_PAD_TO_MULTIPLE, 64, &out, nullptr), GAPLESS_OK);
  EXPECT_EQ(out, 128);
  EXPECT_EQ(pad_length(lengths.data(), count, GAPLESS_PAD_TO_MULTIPLE, 65, &out, nullptr), GAPLESS_OK);
  EXPECT_EQ(out, 65) << "exactly full";
  EXPECT_EQ(pad_length(lengths.data(), count, GAPLESS_PAD_TO_LENGTH, 65, &out, &error), GAPLESS_OK);
  EXPECT_EQ(error.index, -1);
  EXPECT_EQ(pad_length(lengths.data(), count, GAPLESS_PAD_TO_LENGTH, 64, &out, &error), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(error.index, 2);
  EXPECT_EQ(error.length, 65);
  EXPECT_EQ(std::string(KERNELS(gapless_kernels_last_error)()), "sequence 2 has 65 tokens, rows have 64");
  EXPECT_EQ(pad_length(nullptr, 0, GAPLESS_PAD_TO_MULTIPLE, 64, &out, nullptr), GAPLESS_OK);
  EXPECT_EQ(out, 0);
  EXPECT_EQ(pad_length(nullptr, 0, GAPLESS_PAD_TO_LENGTH, 64, &out, nullptr), GAPLESS_OK);
  EXPECT_EQ(out, 64);
  EXPECT_EQ(pad_length(lengths.data(), count, GAPLESS_PAD_TO_MULTIPLE, 0, &out, nullptr),
            GAPLESS_ERROR_INVALID_ARGUMENT);
}

TEST(KernelLibrary, WrongArgumentsEnqueueNothing) {
  EXPECT_EQ(KERNELS(gapless_kernels_pad)(nullptr, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  gapless_pad_batch unset{};
  EXPECT_EQ(KERNELS(gapless_kernels_pad)(&unset, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  gapless_pad_batch batch = GAPLESS_STRUCT(gapless_pad_batch);
  EXPECT_EQ(KERNELS(gapless_kernels_pad)(&batch, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  batch.count = std::int64_t{1} << 40;
  batch.length = std::int64_t{1} << 40;
  EXPECT_EQ(KERNELS(gapless_kernels_pad)(&batch, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  const gapless_guard_range wraps{~0ULL - 10, 100, 0};
  EXPECT_EQ(KERNELS(gapless_kernels_guard_fill)(&wraps, 1, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(KERNELS(gapless_kernels_guard_fill)(nullptr, 0, nullptr), GAPLESS_OK);
  EXPECT_EQ(KERNELS(gapless_kernels_checksum)(nullptr, 0, nullptr, nullptr), GAPLESS_OK);
}

std::uint64_t violations() {
  return find<decltype(gapless_sim_violations)>(dlopen(GAPLESS_TEST_DRIVER, RTLD_NOW), "gapless_sim_violations")();
}

// Each kernel has declared what it touches, so the strict device sees what it must not.
TEST(KernelLibrary, LaunchesOnFreedMemoryAreReported) {
  const std::uint64_t before = violations();
  gapless_guard_range range{};
  {
    const DeviceBytes memory(4096);
    range = {memory.address(), 4096, 1};
    EXPECT_EQ(KERNELS(gapless_kernels_guard_fill)(&range, 1, nullptr), GAPLESS_OK);
    EXPECT_EQ(violations(), before);
  }
  EXPECT_EQ(KERNELS(gapless_kernels_guard_fill)(&range, 1, nullptr), GAPLESS_OK);
  EXPECT_EQ(violations(), before + 1);
}

TEST(KernelLibrary, UnorderedLaunchesAreReported) {
  const std::uint64_t before = violations();
  const DeviceBytes memory(4096);
  const DeviceBytes sums(8);
  const gapless_guard_range guard{memory.address(), 4096, 1};
  const gapless_checksum_range range{memory.address(), 4096};
  cudaStream_t streams[2] = {};
  for (cudaStream_t& stream : streams)
    ASSERT_EQ(RUNTIME(cudaStreamCreateWithFlags)(&stream, cudaStreamNonBlocking), cudaSuccess);
  EXPECT_EQ(KERNELS(gapless_kernels_guard_fill)(&guard, 1, streams[0]), GAPLESS_OK);
  ASSERT_EQ(RUNTIME(cudaStreamSynchronize)(streams[0]), cudaSuccess);
  EXPECT_EQ(KERNELS(gapless_kernels_checksum)(&range, 1, sums.as<std::uint64_t>(), streams[1]), GAPLESS_OK);
  EXPECT_EQ(violations(), before);
  EXPECT_EQ(KERNELS(gapless_kernels_guard_fill)(&guard, 1, streams[0]), GAPLESS_OK);
  EXPECT_EQ(violations(), before + 1) << "the checksum may still read";
}

// A thread that has said nothing is on device 0, where nothing is made only because a launch went elsewhere.
TEST(KernelLibrary, EnteringADeviceMakesNoContextElsewhere) {
  void* const driver = dlopen(GAPLESS_TEST_DRIVER, RTLD_NOW);
  const auto active = [driver](int device) {
    unsigned flags = 0;
    int state = 0;
    EXPECT_EQ((find<int(int, unsigned*, int*)>(driver, "cuDevicePrimaryCtxGetState")(device, &flags, &state)), 0);
    return state != 0;
  };
  ASSERT_EQ((find<int(unsigned)>(driver, "cuInit")(0)), 0);
  const bool before = active(0);
  std::int32_t entered = 0;
  ASSERT_EQ(KERNELS(gapless_kernels_enter_device)(1, &entered), GAPLESS_OK);
  EXPECT_EQ(entered, 1);
  int device = -1;
  EXPECT_EQ(RUNTIME(cudaGetDevice)(&device), cudaSuccess);
  EXPECT_EQ(device, 1);
  std::int32_t again = 7;
  ASSERT_EQ(KERNELS(gapless_kernels_enter_device)(1, &again), GAPLESS_OK);
  EXPECT_EQ(again, 0) << "it is the current one";
  KERNELS(gapless_kernels_leave_device)(again);
  KERNELS(gapless_kernels_leave_device)(entered);
  EXPECT_EQ(RUNTIME(cudaGetDevice)(&device), cudaSuccess);
  EXPECT_EQ(device, 0);
  EXPECT_EQ(active(0), before);
  EXPECT_TRUE(active(1));
  EXPECT_EQ(KERNELS(gapless_kernels_enter_device)(9, &again), GAPLESS_ERROR_DRIVER);
  EXPECT_EQ(again, 0);
}

// In this order: the loader then takes these for the libraries that the kernels need.
bool load() {
  void* const driver = dlopen(GAPLESS_TEST_DRIVER, RTLD_NOW | RTLD_GLOBAL);
  if (driver == nullptr) return false;
  if (find<decltype(gapless_sim_configure)>(driver, "gapless_sim_configure")("size=1GiB,devices=2,data=1,strict=1") !=
      0)
    return false;
  runtime = dlopen(GAPLESS_TEST_RUNTIME, RTLD_NOW | RTLD_GLOBAL);
  kernels = runtime == nullptr ? nullptr : dlopen(GAPLESS_TEST_KERNELS, RTLD_NOW | RTLD_LOCAL);
  return kernels != nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (!load()) {
    const char* const why = dlerror();
    std::fprintf(stderr, "cannot load the libraries: %s\n",
                 why != nullptr ? why : "the simulation refused its options");
    return 2;
  }
  return RUN_ALL_TESTS();
}
