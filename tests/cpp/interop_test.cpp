// SPDX-License-Identifier: Apache-2.0
#include "gapless/interop/cccl.hpp"
#include "gapless/interop/cub.hpp"
#include "gapless/interop/pmr.hpp"
#include "gapless/interop/thrust.hpp"

#include <memory_resource>

#include "fixture.hpp"

namespace gapless::test {
namespace {

class InteropTest : public SimulatedDevice {
 protected:
  std::int64_t live() { return gpu.stats().allocation[GAPLESS_ALL].current; }
};

TEST_F(InteropTest, APmrResourceKeepsAlignments) {
  interop::DeviceMemoryResource resource(gpu);
  for (std::size_t alignment = 1; alignment <= (std::size_t{1} << 20); alignment *= 2) {
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{513}, 3 * kMiB}) {
      void* const pointer = resource.allocate(bytes, alignment);
      ASSERT_NE(pointer, nullptr);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pointer) % alignment, 0U) << bytes << " at " << alignment;
      resource.deallocate(pointer, bytes, alignment);
      EXPECT_EQ(live(), 0) << bytes << " at " << alignment;
    }
  }
  EXPECT_THROW(static_cast<void>(resource.allocate(2 * kDeviceBytes, 1)), std::bad_alloc);
  EXPECT_THROW(static_cast<void>(resource.allocate(kNoLimit - 100, 4096)), std::bad_alloc);
}

TEST_F(InteropTest, PmrResourcesOfOneDeviceAreEqual) {
  const interop::DeviceMemoryResource a(gpu);
  const interop::DeviceMemoryResource b(gpu, reinterpret_cast<Stream>(2));
  const interop::DeviceMemoryResource c(allocator.device(1));
  EXPECT_TRUE(a.is_equal(b));
  EXPECT_FALSE(a.is_equal(c));
  EXPECT_FALSE(a.is_equal(*std::pmr::new_delete_resource()));
}

TEST_F(InteropTest, TemporaryStorageIsAskedForThenGiven) {
  int calls = 0;
  const int result = interop::with_temporary_storage(gpu, nullptr, [&](void* storage, std::size_t& bytes) {
    ++calls;
    if (storage == nullptr) {
      bytes = 5000;
      return 0;
    }
    EXPECT_EQ(bytes, 5000U);
    EXPECT_EQ(live(), 1);
    return 0;
  });
  EXPECT_EQ(result, 0);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(live(), 0);
}

TEST_F(InteropTest, AnAlgorithmThatNeedsNoStorageRuns) {
  bool ran = false;
  interop::with_temporary_storage(gpu, nullptr, [&](void* storage, std::size_t&) {
    ran = storage != nullptr;
    return 0;
  });
  EXPECT_TRUE(ran);
}

TEST_F(InteropTest, AFailedQuestionIsTheAnswer) {
  int calls = 0;
  EXPECT_EQ(interop::with_temporary_storage(gpu, nullptr, [&](void*, std::size_t&) { return ++calls, 9; }), 9);
  EXPECT_EQ(calls, 1);
}

TEST_F(InteropTest, ThrustsTemporaryAllocator) {
  interop::TemporaryAllocator temporary(gpu);
  char* const pointer = temporary.allocate(5000);
  EXPECT_EQ(live(), 1);
  temporary.deallocate(pointer, 5000);
  EXPECT_EQ(live(), 0);
  temporary.deallocate(temporary.allocate(0), 0);
  EXPECT_EQ(temporary, interop::TemporaryAllocator(gpu));
}

}  // namespace
}  // namespace gapless::test
