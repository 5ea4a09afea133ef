// SPDX-License-Identifier: Apache-2.0
// What the hit path answers where it cannot serve.
#include "fixture.hpp"

namespace gapless::engine {
namespace {

using HotPath = EngineTest;

TEST_F(HotPath, ZeroBytesAndUnknownPointers) {
  open();
  void* out = &out;
  EXPECT_EQ(gapless_allocate(allocator, 0, nullptr, 0, &out), GAPLESS_OK);
  EXPECT_EQ(out, nullptr);
  EXPECT_EQ(gapless_deallocate(allocator, nullptr), GAPLESS_OK);
  int here = 0;
  EXPECT_EQ(gapless_deallocate(allocator, &here), GAPLESS_ERROR_UNKNOWN_POINTER);
  void* const block = allocate(10000);
  EXPECT_EQ(gapless_deallocate(allocator, static_cast<char*>(block) + 512), GAPLESS_ERROR_UNKNOWN_POINTER);
  EXPECT_EQ(gapless_deallocate(allocator, static_cast<char*>(block) + 1), GAPLESS_ERROR_UNKNOWN_POINTER);
  free(block);
  EXPECT_EQ(gapless_deallocate(allocator, block), GAPLESS_ERROR_UNKNOWN_POINTER) << "freed twice";
  EXPECT_EQ(gapless_allocate(allocator, 1, nullptr, 1, &out), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gapless_allocate(allocator, -1, nullptr, 1, &out), GAPLESS_ERROR_INVALID_ARGUMENT);
}

TEST_F(HotPath, RequestsBeyondAllBoundsFailAndChangeNothing) {
  open();
  void* const block = allocate(kMiB);
  const std::uint64_t before = reserved();
  void* out = nullptr;
  for (const std::uint64_t bytes : {~std::uint64_t{0}, std::uint64_t{1} << 63, std::uint64_t{1} << 41, 81 * kGiB})
    EXPECT_EQ(try_allocate(bytes, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(reserved(), before);
  free(block);
}

}  // namespace
}  // namespace gapless::engine
