// SPDX-License-Identifier: Apache-2.0
// Calls that no correct program makes, and sizes at the edges: an error or a block, never a broken allocator.
#include <vector>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

using ArgumentsTest = EngineTest;

TEST_F(ArgumentsTest, OddSizesGiveABlockOrAnError) {
  open(256 * kMiB);
  void* stream = make_stream();
  std::vector<void*> blocks;
  for (const std::uint64_t size :
       {std::uint64_t{1}, std::uint64_t{511}, std::uint64_t{512}, std::uint64_t{513}, kMiB - 1, std::uint64_t{kMiB},
        kMiB + 1, 2 * kMiB - 1, 2 * kMiB, 2 * kMiB + 1, 10 * kMiB, 20 * kMiB + 1})
    for (void* const on : {static_cast<void*>(nullptr), stream}) blocks.push_back(allocate(size, on));
  for (const std::uint64_t size :
       {257 * kMiB, (std::uint64_t{1} << 40) - 1, std::uint64_t{1} << 40, (std::uint64_t{1} << 40) + 1,
        (std::uint64_t{1} << 63) - 1, std::uint64_t{1} << 63, ~std::uint64_t{0} - 511, ~std::uint64_t{0}}) {
    void* out = &blocks;
    EXPECT_EQ(gapless_allocate(allocator, 0, stream, size, &out), GAPLESS_ERROR_OUT_OF_MEMORY) << size;
    EXPECT_EQ(out, &blocks);
    EXPECT_EQ(gapless_warm_up(allocator, 0, stream, size), GAPLESS_ERROR_OUT_OF_MEMORY) << size;
    gapless_oom_record record = GAPLESS_STRUCT(gapless_oom_record);
    ASSERT_EQ(gapless_last_oom(allocator, 0, &record), GAPLESS_OK);
    EXPECT_EQ(record.requested_bytes, size);
  }
  void* out = &blocks;
  EXPECT_EQ(gapless_allocate(allocator, 0, stream, 0, &out), GAPLESS_OK);
  EXPECT_EQ(out, nullptr);
  validate();
  for (void* const block : blocks) free(block);
  validate();
}

TEST_F(ArgumentsTest, BadPointersAreUnknown) {
  open();
  char* const small = static_cast<char*>(allocate(4096));
  char* const large = static_cast<char*>(allocate(5 * kMiB));
  char* const freed = static_cast<char*>(allocate(7 * kMiB));
  free(freed);
  gapless_stats before = stats();
  std::vector<void*> bad = {small + 1,
                            small + 512,
                            large + 511,
                            large + 512,
                            large - 512,
                            large + 2 * kMiB,
                            freed,
                            &before,
                            small + kGiB,
                            large + kGiB - 512,
                            large + 60 * kGiB,
                            large + 120 * kGiB - 512,
                            large + 256 * kGiB,
                            reinterpret_cast<void*>(1),
                            reinterpret_cast<void*>(~std::uint64_t{0}),
                            reinterpret_cast<void*>((std::uint64_t{1} << 49) - 512),
                            reinterpret_cast<void*>(std::uint64_t{1} << 49)};
  // All along the reservations, their ends included.
  for (std::uint64_t step = 0; step < 200; step++)
    bad.push_back(large + step * kGiB + (step % 2 != 0 ? 0 : kGiB - 512) + 8 * kMiB);
  for (void* const pointer : bad) {
    EXPECT_EQ(gapless_deallocate(allocator, pointer), GAPLESS_ERROR_UNKNOWN_POINTER) << pointer;
    EXPECT_EQ(gapless_record_stream(allocator, pointer, nullptr), GAPLESS_ERROR_UNKNOWN_POINTER) << pointer;
    EXPECT_EQ(gapless_set_cookie(allocator, pointer, 7), GAPLESS_ERROR_UNKNOWN_POINTER) << pointer;
    gapless_block_info info = GAPLESS_STRUCT(gapless_block_info);
    static_cast<void>(gapless_block_of(allocator, pointer, &info));
  }
  EXPECT_EQ(gapless_record_stream(allocator, nullptr, nullptr), GAPLESS_ERROR_UNKNOWN_POINTER);
  EXPECT_EQ(gapless_set_cookie(allocator, nullptr, 1), GAPLESS_ERROR_UNKNOWN_POINTER);
  free(small);
  free(large);
  EXPECT_EQ(gapless_deallocate(allocator, large), GAPLESS_ERROR_UNKNOWN_POINTER);
  validate();
}

TEST_F(ArgumentsTest, NullAndUnknownArguments) {
  open();
  void* const block = allocate(5 * kMiB);
  EXPECT_EQ(gapless_allocate(allocator, 0, nullptr, 1, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  void* out = nullptr;
  for (const int device : {-1, 1, 127, 128, 1 << 30, -2147483647 - 1}) {
    EXPECT_EQ(gapless_allocate(allocator, device, nullptr, 1, &out), GAPLESS_ERROR_INVALID_ARGUMENT) << device;
    EXPECT_EQ(gapless_probe_device(allocator, device), GAPLESS_ERROR_INVALID_ARGUMENT) << device;
    EXPECT_EQ(gapless_set_limit(allocator, device, 1), GAPLESS_ERROR_INVALID_ARGUMENT) << device;
    EXPECT_EQ(gapless_enable_peer(allocator, 0, device), GAPLESS_ERROR_INVALID_ARGUMENT) << device;
    EXPECT_EQ(gapless_forget_stream(allocator, device, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT) << device;
    gapless_stats s = GAPLESS_STRUCT(gapless_stats);
    EXPECT_EQ(gapless_get_stats(allocator, device, &s), GAPLESS_ERROR_INVALID_ARGUMENT) << device;
    EXPECT_EQ(gapless_trim(allocator, device, {0, 0}, 0, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT) << device;
  }
  EXPECT_EQ(gapless_get_stats(allocator, 0, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gapless_get_limit(allocator, 0, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gapless_largest_available(allocator, 0, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gapless_walk_snapshot(allocator, 0, nullptr, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gapless_pool_restore(allocator, 0, nullptr, nullptr, nullptr, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gapless_pool_begin(allocator, 0, {0, 1}, nullptr, nullptr, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gapless_pool_end(allocator, 0, {0, 1}), GAPLESS_ERROR_NOT_FOUND);
  EXPECT_EQ(gapless_pool_release(allocator, 0, {0, 1}), GAPLESS_ERROR_NOT_FOUND);
  EXPECT_EQ(gapless_pool_create(allocator, 0, {0, 1}, nullptr), GAPLESS_OK);
  EXPECT_EQ(gapless_pool_set_flag(allocator, 0, {0, 1}, 77, 1), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gapless_pool_release(allocator, 0, {0, 1}), GAPLESS_OK);
  EXPECT_EQ(gapless_set_option(allocator, "slack", nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gapless_add_oom_hook(allocator, nullptr, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gapless_mark_step(allocator, 0, nullptr, 0), GAPLESS_OK);
  EXPECT_EQ(gapless_mark_phase(allocator, 0, nullptr), GAPLESS_OK);
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}}) {
    gapless_stats s{};
    s.struct_size = size;
    EXPECT_EQ(gapless_get_stats(allocator, 0, &s), GAPLESS_ERROR_INVALID_ARGUMENT);
    gapless_listener listener{};
    listener.struct_size = size;
    EXPECT_EQ(gapless_set_listener(allocator, &listener), GAPLESS_ERROR_INVALID_ARGUMENT);
  }
  EXPECT_EQ(gapless_close(allocator), GAPLESS_ERROR_BUSY);
  free(block);
}

TEST_F(ArgumentsTest, ExtremeOptionsKeepTheAllocatorWhole) {
  open(256 * kMiB);
  for (const char* const slack : {"1", "4", "1e300", "-1", "0", "nan", "inf", ""}) {
    static_cast<void>(gapless_set_option(allocator, "slack", slack));
    void* out = nullptr;
    ASSERT_EQ(try_allocate(33 * kMiB, out), GAPLESS_OK) << slack;
    free(out);
    validate();
  }
  ASSERT_EQ(gapless_set_limit(allocator, 0, 0), GAPLESS_OK);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(100 * kMiB, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  validate();
  EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, ~std::size_t{0}, nullptr), GAPLESS_OK);
  EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, nullptr), GAPLESS_OK);
  EXPECT_EQ(reserved(), 0u);
  EXPECT_EQ(try_allocate(1, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  ASSERT_EQ(gapless_set_limit(allocator, 0, ~std::size_t{0}), GAPLESS_OK);
  ASSERT_EQ(try_allocate(1, out), GAPLESS_OK);
  free(out);
}

// An option that has nothing to do with it must not lift a limit that the program set.
TEST_F(ArgumentsTest, AnotherOptionLeavesTheLimit) {
  open(256 * kMiB);
  ASSERT_EQ(gapless_set_limit(allocator, 0, 64 * kMiB), GAPLESS_OK);
  ASSERT_EQ(gapless_set_option(allocator, "slack", "1.5"), GAPLESS_OK) << gapless_last_error();
  std::size_t limit = 0;
  ASSERT_EQ(gapless_get_limit(allocator, 0, &limit), GAPLESS_OK);
  EXPECT_EQ(limit, 64 * kMiB);
}

// Block sizes end at 1 TiB; a larger request must not be answered with a smaller block.
TEST_F(ArgumentsTest, RequestsBeyondTheLargestBlockFailOnAnyDevice) {
  config::Options options;
  options.granule = kGiB;
  driver::sim::Config machine;
  machine.va = 64ull << 40;
  open(3ull << 40, options, machine);
  void* out = nullptr;
  EXPECT_EQ(try_allocate((std::uint64_t{1} << 40) + 1, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  if (out != nullptr) free(out);
  EXPECT_EQ(try_allocate(~std::uint64_t{0}, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  if (out != nullptr) free(out);
}

TEST_F(ArgumentsTest, ASnapshotOfNoDevice) {
  open();
  free(allocate(4096));
  gapless_snapshot_visitor visitor = GAPLESS_STRUCT(gapless_snapshot_visitor);
  EXPECT_EQ(gapless_walk_snapshot(allocator, -1, nullptr, &visitor), GAPLESS_OK);
  EXPECT_EQ(gapless_walk_snapshot(allocator, 0, nullptr, &visitor), GAPLESS_OK);
  for (const int32_t device : {-2, 1, 77, 1 << 20})
    EXPECT_EQ(gapless_walk_snapshot(allocator, device, nullptr, &visitor), GAPLESS_ERROR_INVALID_ARGUMENT) << device;
}

}  // namespace
}  // namespace gapless::engine
