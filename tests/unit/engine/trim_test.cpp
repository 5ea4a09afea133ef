// SPDX-License-Identifier: Apache-2.0
#include "fixture.hpp"

namespace gapless::engine {
namespace {

using TrimTest = EngineTest;

TEST_F(TrimTest, ReleasesWhatIsIdleAndKeepsWhatIsAskedFor) {
  open();
  void* const a = allocate(30 * kMiB);
  void* const b = allocate(20 * kMiB);
  free(a);
  std::size_t released = 0;
  ASSERT_EQ(gapless_trim(allocator, 0, {0, 0}, 40 * kMiB, &released), GAPLESS_OK);
  EXPECT_EQ(released, 10 * kMiB);
  EXPECT_EQ(machine_->physical_bytes(0), 40 * kMiB);
  validate();
  ASSERT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_OK);
  EXPECT_EQ(machine_->physical_bytes(0), 20 * kMiB);
  validate();
  void* const c = allocate(30 * kMiB);
  EXPECT_EQ(c, a) << "the place is the same: placement does not depend on backing";
  free(b);
  free(c);
}

TEST_F(TrimTest, DormantMappingsGoWithTheirHandle) {
  open(64 * kMiB);
  void* const a = allocate(60 * kMiB);
  free(a);
  void* const small = allocate(512);
  void* const b = allocate(50 * kMiB);
  EXPECT_GT(stats().dormant_mappings, 0);
  free(b);
  free(small);
  std::size_t released = 0;
  ASSERT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_OK);
  EXPECT_EQ(machine_->physical_bytes(0), 0u);
  EXPECT_EQ(stats().dormant_mappings, 0);
  validate();
}

TEST_F(TrimTest, AFailedReleaseIsCountedAndUsedAgain) {
  open();
  void* const a = allocate(10 * kMiB);
  free(a);
  faults_->add({.call = driver::Call::release, .skip = 2, .error = driver::Result::unknown});
  std::size_t released = 0;
  EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_ERROR_DRIVER);
  EXPECT_EQ(machine_->physical_bytes(0), 2 * kMiB);
  validate();
  void* const b = allocate(10 * kMiB);
  EXPECT_EQ(machine_->physical_bytes(0), 10 * kMiB);
  free(b);
  validate();
}

// Found by Programs.SurviveDriverFailures: the block stayed pending, its granule with it, and the trim said that all
// was well.
TEST_F(TrimTest, AFreeThatTheDriverWouldNotWaitForIsSaid) {
  open();
  void* const reader = make_stream();
  void* const block = allocate(10 * kMiB);
  ASSERT_EQ(gapless_record_stream(allocator, block, reader), GAPLESS_OK);
  faults_->add({.call = driver::Call::event_record, .error = driver::Result::unknown});
  free(block);
  faults_->add({.call = driver::Call::device_synchronize, .error = driver::Result::unknown});
  std::size_t released = 0;
  EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_ERROR_DRIVER);
  EXPECT_EQ(machine_->physical_bytes(0), 10 * kMiB);
  ASSERT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_OK);
  EXPECT_EQ(machine_->physical_bytes(0), 0u);
  validate();
}

TEST_F(TrimTest, WarmUpBacksMemoryAhead) {
  open();
  ASSERT_EQ(gapless_warm_up(allocator, 0, nullptr, 100 * kMiB), GAPLESS_OK);
  const std::uint64_t calls = faults_->memory_calls();
  void* const a = allocate(60 * kMiB);
  void* const b = allocate(40 * kMiB);
  EXPECT_EQ(faults_->memory_calls(), calls);
  free(a);
  free(b);
}

TEST_F(TrimTest, AnOptionLeavesTheLimit) {
  open();
  ASSERT_EQ(gapless_set_limit(allocator, 0, 64 * kMiB), GAPLESS_OK);
  ASSERT_EQ(gapless_set_option(allocator, "slack", "1.02"), GAPLESS_OK);
  std::size_t limit = 0;
  ASSERT_EQ(gapless_get_limit(allocator, 0, &limit), GAPLESS_OK);
  EXPECT_EQ(limit, 64 * kMiB);
  ASSERT_EQ(gapless_set_option(allocator, "limit", "32MiB"), GAPLESS_OK);
  ASSERT_EQ(gapless_get_limit(allocator, 0, &limit), GAPLESS_OK);
  EXPECT_EQ(limit, 32 * kMiB);
}

}  // namespace
}  // namespace gapless::engine
