// SPDX-License-Identifier: Apache-2.0
// Whose error the CUDA runtime keeps: a program asks cudaGetLastError whether its own launch failed.
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "simulation.hpp"

namespace gapless::kernels {
namespace {

// What a call of the driver on behalf of the kernels fails with, and what the program's own call fails with.
constexpr int kOurs = 719;
static_assert(kOurs == cudaErrorLaunchFailure);
constexpr cudaError_t kPrograms = cudaErrorMemoryAllocation;

struct Entry {
  std::string name;
  std::function<gapless_status()> call;
  std::vector<const char*> driver_calls;  // in their order
};

class LastErrorTest : public testing::Test {
 protected:
  LastErrorTest() {
    EXPECT_EQ((RUNTIME(cudaMalloc))(reinterpret_cast<void**>(&memory_), kBytes), cudaSuccess);
    EXPECT_EQ(RUNTIME(cudaMemset)(memory_, 0, kBytes), cudaSuccess);  // so the sequences' lengths are 0
    EXPECT_EQ(RUNTIME(cudaGetLastError)(), cudaSuccess);
  }
  ~LastErrorTest() override { EXPECT_EQ(RUNTIME(cudaFree)(memory_), cudaSuccess); }

  // One of each, on memory of their own.
  std::vector<Entry> entries() {
    const auto at = [this](std::size_t part) { return memory_ + part * kPart; };
    const auto fill = [at] {
      const gapless_guard_range range{reinterpret_cast<std::uintptr_t>(at(0)), kPart, 1};
      return KERNELS(gapless_kernels_guard_fill)(&range, 1, nullptr);
    };
    const auto check = [at] {
      const gapless_guard_range range{reinterpret_cast<std::uintptr_t>(at(0)), kPart, 1};
      return KERNELS(gapless_kernels_guard_check)(&range, 1, reinterpret_cast<gapless_guard_report*>(at(1)), nullptr);
    };
    const auto sum = [at] {
      const gapless_checksum_range range{reinterpret_cast<std::uintptr_t>(at(0)), kPart};
      return KERNELS(gapless_kernels_checksum)(&range, 1, reinterpret_cast<std::uint64_t*>(at(2)), nullptr);
    };
    const auto copy = [at] {
      const int host = 0;
      return KERNELS(gapless_kernels_copy)(at(3), &host, sizeof host, nullptr);
    };
    const auto pad = [at] {
      gapless_pad_batch batch = GAPLESS_STRUCT(gapless_pad_batch);
      batch.count = 2;
      batch.length = 4;
      batch.tokens = batch.lengths = reinterpret_cast<std::int64_t*>(at(4));
      batch.offsets = reinterpret_cast<std::int64_t*>(at(5));
      batch.out_mask = reinterpret_cast<std::int64_t*>(at(6));
      batch.error = reinterpret_cast<gapless_pad_error*>(at(7));
      return KERNELS(gapless_kernels_pad)(&batch, nullptr);
    };
    return {{"guard_fill", fill, {"cuLaunchKernel"}},
            {"guard_check", check, {"cuMemsetD8Async", "cuMemsetD8Async", "cuLaunchKernel"}},
            {"checksum", sum, {"cuMemsetD8Async", "cuLaunchKernel"}},
            {"copy", copy, {"cuMemcpyAsync"}},
            {"pad", pad, {"cuLaunchKernel", "cuLaunchKernel"}}};
  }

  // Each entry, failing at each of its calls of the driver in turn. Before that `prepare`, after it `judge`.
  void fail_everywhere(const std::function<void()>& prepare, const std::function<void()>& judge) {
    const auto fail = find<decltype(gapless_sim_fail_call)>(driver, "gapless_sim_fail_call");
    for (const Entry& entry : entries()) {
      for (std::size_t i = 0; i < entry.driver_calls.size(); ++i) {
        SCOPED_TRACE(entry.name + ", driver call " + std::to_string(i));
        std::uint64_t before = 0;
        for (std::size_t j = 0; j < i; ++j) before += entry.driver_calls[j] == std::string(entry.driver_calls[i]);
        prepare();
        ASSERT_EQ(fail(entry.driver_calls[i], before, kOurs), 0);
        EXPECT_EQ(entry.call(), GAPLESS_ERROR_DRIVER);
        EXPECT_NE(std::string(KERNELS(gapless_kernels_last_error)()).find("cudaErrorLaunchFailure (719)"),
                  std::string::npos)
            << KERNELS(gapless_kernels_last_error)();
        judge();
        EXPECT_EQ(RUNTIME(cudaGetLastError)(), cudaSuccess) << "the runtime keeps one error";
      }
    }
  }

  static void program_fails() {
    void* none = nullptr;
    ASSERT_EQ((RUNTIME(cudaMalloc))(&none, std::size_t{1} << 40), kPrograms);
  }

 private:
  static constexpr std::size_t kPart = 4096;
  static constexpr std::size_t kBytes = 8 * kPart;
  char* memory_ = nullptr;
};

TEST_F(LastErrorTest, TheProgramsIsNeitherTakenNorReported) {
  program_fails();
  for (const Entry& entry : entries()) {
    EXPECT_EQ(entry.call(), GAPLESS_OK) << entry.name << ": " << KERNELS(gapless_kernels_last_error)();
    EXPECT_EQ(RUNTIME(cudaPeekAtLastError)(), kPrograms) << entry.name;
  }
  EXPECT_EQ(RUNTIME(cudaGetLastError)(), kPrograms);
}

TEST_F(LastErrorTest, OursIsNotLeft) {
  fail_everywhere([] {}, [] { EXPECT_EQ(RUNTIME(cudaPeekAtLastError)(), cudaSuccess); });
}

// The runtime has no place for two and no way to put one back: the program still finds that something failed.
TEST_F(LastErrorTest, WhereTheProgramsWaitsOursTakesItsPlace) {
  fail_everywhere(program_fails, [] { EXPECT_EQ(RUNTIME(cudaGetLastError)(), cudaErrorLaunchFailure); });
}

// Refused arguments and devices that are not there never reach the runtime.
TEST_F(LastErrorTest, WhatIsRefusedLeavesTheProgramsAlone) {
  program_fails();
  EXPECT_EQ(KERNELS(gapless_kernels_pad)(nullptr, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  std::int32_t entered = 0;
  EXPECT_EQ(KERNELS(gapless_kernels_enter_device)(9, &entered), GAPLESS_ERROR_DRIVER);
  EXPECT_EQ(RUNTIME(cudaGetLastError)(), kPrograms);
}

}  // namespace
}  // namespace gapless::kernels
