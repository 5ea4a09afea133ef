// SPDX-License-Identifier: Apache-2.0
// PyTorch's definitions of its statistics.
#include "fixture.hpp"

namespace gapless::engine {
namespace {

using CountersTest = EngineTest;

TEST_F(CountersTest, FollowPyTorchsDefinitions) {
  open();
  void* const a = allocate(1000);          // small, 1024
  void* const b = allocate(3 * kMiB + 1);  // large
  gapless_stats s = stats();
  EXPECT_EQ(s.allocation[GAPLESS_ALL].current, 2);
  EXPECT_EQ(s.allocation[GAPLESS_SMALL_POOL].current, 1);
  EXPECT_EQ(s.allocated_bytes[GAPLESS_SMALL_POOL].current, 1024);
  EXPECT_EQ(s.requested_bytes[GAPLESS_SMALL_POOL].current, 1000);
  EXPECT_EQ(s.allocated_bytes[GAPLESS_LARGE_POOL].current, static_cast<std::int64_t>(3 * kMiB + 512));
  EXPECT_EQ(s.reserved_bytes[GAPLESS_SMALL_POOL].current, static_cast<std::int64_t>(2 * kMiB));
  EXPECT_EQ(s.reserved_bytes[GAPLESS_LARGE_POOL].current, static_cast<std::int64_t>(4 * kMiB));
  EXPECT_EQ(s.active_bytes[GAPLESS_ALL].current, s.allocated_bytes[GAPLESS_ALL].current);
  EXPECT_EQ(s.segment[GAPLESS_ALL].current, 0) << "expandable segments are not counted, as in PyTorch";
  EXPECT_EQ(s.num_device_alloc, 3);
  free(b);
  s = stats();
  EXPECT_EQ(s.allocation[GAPLESS_ALL].current, 1);
  EXPECT_EQ(s.allocation[GAPLESS_ALL].allocated, 2);
  EXPECT_EQ(s.allocation[GAPLESS_ALL].freed, 1);
  EXPECT_EQ(s.allocated_bytes[GAPLESS_ALL].peak, static_cast<std::int64_t>(3 * kMiB + 512 + 1024));
  EXPECT_EQ(s.reserved_bytes[GAPLESS_ALL].current, static_cast<std::int64_t>(6 * kMiB)) << "freeing releases nothing";
  EXPECT_EQ(s.idle_bytes, static_cast<std::int64_t>(4 * kMiB));

  ASSERT_EQ(gapless_reset_peak_stats(allocator, 0), GAPLESS_OK);
  ASSERT_EQ(gapless_reset_accumulated_stats(allocator, 0), GAPLESS_OK);
  s = stats();
  EXPECT_EQ(s.allocated_bytes[GAPLESS_ALL].peak, 1024);
  EXPECT_EQ(s.allocation[GAPLESS_ALL].allocated, 0);
  EXPECT_EQ(s.allocation[GAPLESS_ALL].freed, 0);
  free(a);
  s = stats();
  EXPECT_EQ(s.allocation[GAPLESS_ALL].freed, 1);
  EXPECT_EQ(s.allocated_bytes[GAPLESS_ALL].freed, 1024);
}

TEST_F(CountersTest, PeaksSurviveStepMarksAndResetsDoNotLowerTheCreationCap) {
  open();
  void* const a = allocate(100 * kMiB);
  free(a);
  ASSERT_EQ(gapless_mark_step(allocator, 0, "one", 4), GAPLESS_OK);
  void* const b = allocate(10 * kMiB);
  EXPECT_EQ(stats().allocated_bytes[GAPLESS_ALL].peak, static_cast<std::int64_t>(100 * kMiB));
  ASSERT_EQ(gapless_reset_peak_stats(allocator, 0), GAPLESS_OK);
  EXPECT_EQ(stats().allocated_bytes[GAPLESS_ALL].peak, static_cast<std::int64_t>(10 * kMiB));
  free(b);
}

TEST_F(CountersTest, InactiveSplitIsWhatSharesAGranule) {
  open();
  void* const a = allocate(3 * kMiB);
  void* const b = allocate(3 * kMiB);
  EXPECT_EQ(stats().inactive_split_bytes[GAPLESS_ALL].current, 0) << "3 + 3 MiB fill three granules";
  free(a);
  // Granule 0 is idle, half of granule 1 is held by b.
  const gapless_stats s = stats();
  EXPECT_EQ(s.inactive_split_bytes[GAPLESS_LARGE_POOL].current, static_cast<std::int64_t>(kMiB));
  EXPECT_EQ(s.inactive_split[GAPLESS_ALL].current, 1);
  EXPECT_EQ(s.idle_bytes, static_cast<std::int64_t>(2 * kMiB));
  free(b);
  EXPECT_EQ(stats().inactive_split_bytes[GAPLESS_ALL].current, 0);
}

TEST_F(CountersTest, PendingBlocksAreActiveButNotAllocated) {
  driver::sim::Config config;
  config.completion = driver::sim::Completion::manual;
  open(80 * kGiB, {}, config);
  void* const side = make_stream();
  void* const a = allocate(10 * kMiB);
  ASSERT_EQ(gapless_record_stream(allocator, a, side), GAPLESS_OK);
  free(a);
  gapless_stats s = stats();
  EXPECT_EQ(s.allocated_bytes[GAPLESS_ALL].current, 0);
  EXPECT_EQ(s.active_bytes[GAPLESS_ALL].current, static_cast<std::int64_t>(10 * kMiB));
  void* const b = allocate(20 * kMiB);
  EXPECT_EQ(stats().active_bytes[GAPLESS_ALL].peak, static_cast<std::int64_t>(20 * kMiB))
      << "the miss for b made the pending block free in stream order";
  free(b);
  EXPECT_EQ(stats().active_bytes[GAPLESS_ALL].current, 0);
}

}  // namespace
}  // namespace gapless::engine
