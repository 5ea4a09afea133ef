// SPDX-License-Identifier: Apache-2.0
#include "fixture.hpp"

namespace gapless::test {
namespace {

using DeviceTest = SimulatedDevice;

TEST_F(DeviceTest, StatisticsFollowTheBlocks) {
  {
    const Block small = gpu.allocate(1000);
    const Block large = gpu.allocate(5 * kMiB);
    const Stats stats = gpu.stats();
    EXPECT_EQ(stats.requested_bytes[GAPLESS_ALL].current, static_cast<std::int64_t>(5 * kMiB + 1000));
    EXPECT_EQ(stats.allocation[GAPLESS_SMALL_POOL].current, 1);
    EXPECT_EQ(stats.allocation[GAPLESS_LARGE_POOL].current, 1);
    EXPECT_GE(stats.reserved_bytes[GAPLESS_ALL].current, stats.allocated_bytes[GAPLESS_ALL].current);
  }
  gpu.reset_peak_stats();
  gpu.reset_accumulated_stats();
  const Stats stats = gpu.stats();
  EXPECT_EQ(stats.allocated_bytes[GAPLESS_ALL].peak, 0);
  EXPECT_EQ(stats.allocated_bytes[GAPLESS_ALL].allocated, 0);
}

TEST_F(DeviceTest, DevicesAreApart) {
  const Device second = allocator.device(1);
  const Block block = second.allocate(kMiB);
  EXPECT_EQ(block.info().device, 1);
  EXPECT_EQ(gpu.stats().allocation[GAPLESS_ALL].current, 0);
  EXPECT_EQ(second.stats().allocation[GAPLESS_ALL].current, 1);
  EXPECT_NE(gpu, second);
  EXPECT_EQ(allocator.device(9).try_allocate(1).status(), Status::invalid_argument);
}

TEST_F(DeviceTest, TrimReleasesWhatIsIdle) {
  gpu.allocate(64 * kMiB).reset();
  EXPECT_GE(gpu.trim(), 64 * kMiB);
  EXPECT_EQ(gpu.stats().reserved_bytes[GAPLESS_ALL].current, 0);
  EXPECT_EQ(gpu.trim(), 0U);
}

TEST_F(DeviceTest, AScopedLimitEndsWithItsScope) {
  const std::size_t before = gpu.limit();
  {
    const ScopedLimit outer = gpu.limit_to(64 * kMiB);
    EXPECT_EQ(gpu.limit(), 64 * kMiB);
    {
      ScopedLimit inner = gpu.limit_to(16 * kMiB);
      EXPECT_EQ(gpu.try_allocate(32 * kMiB).status(), Status::out_of_memory);
      EXPECT_EQ(gpu.last_oom().verdict, GAPLESS_OOM_LIMIT);
      const ScopedLimit moved = std::move(inner);
      EXPECT_EQ(gpu.limit(), 16 * kMiB) << "moved, not ended";
    }
    EXPECT_EQ(gpu.limit(), 64 * kMiB);
    EXPECT_TRUE(gpu.try_allocate(32 * kMiB));
  }
  EXPECT_EQ(gpu.limit(), before);
}

TEST_F(DeviceTest, WarmUpBacksMemoryAhead) {
  gpu.warm_up(32 * kMiB);
  const std::int64_t created = gpu.stats().num_device_alloc;
  const Block block = gpu.allocate(32 * kMiB);
  EXPECT_EQ(gpu.stats().num_device_alloc, created);
}

TEST_F(DeviceTest, LargestAvailableIsObtainable) {
  const std::size_t bytes = gpu.largest_available();
  EXPECT_GT(bytes, kDeviceBytes / 2);
  EXPECT_TRUE(gpu.try_allocate(bytes));
}

TEST_F(DeviceTest, MarksAreAccepted) {
  gpu.mark_step("train", 16);
  gpu.mark_phase("forward");
  gpu.mark_phase("a label that is longer than what is kept of it");
  gpu.mark_step("eval");
}

TEST_F(DeviceTest, NoForecastWithoutEvidence) {
  const Status status = gpu.try_forecast(16).status();
  EXPECT_TRUE(status == Status::not_found || status == Status::unsupported) << name(status);
  EXPECT_EQ(gpu.try_last_oom().status(), Status::not_found);
}

}  // namespace
}  // namespace gapless::test
