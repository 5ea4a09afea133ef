// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "fixture.hpp"

namespace gapless::test {
namespace {

using OomTest = SimulatedDevice;

TEST_F(OomTest, IsABadAllocWithARecord) {
  EXPECT_THROW(static_cast<void>(gpu.allocate(2 * kDeviceBytes)), OutOfMemory);
  EXPECT_EQ(gpu.try_allocate(2 * kDeviceBytes).status(), Status::out_of_memory);
  const OomRecord record = gpu.last_oom();
  EXPECT_EQ(record.requested_bytes, 2 * kDeviceBytes);
  EXPECT_EQ(record.live_bytes, 0U);
}

TEST_F(OomTest, AHookThatFreesSavesTheRequest) {
  std::vector<Block> cache;
  cache.push_back(gpu.allocate(kDeviceBytes * 3 / 4));
  int asked = 0;
  const OomHook hook = allocator.on_oom([&](const OomRecord& record) {
    ++asked;
    EXPECT_EQ(record.requested_bytes, kDeviceBytes / 2);
    if (cache.empty()) return OomAnswer::give_up;
    cache.clear();
    return OomAnswer::try_again;
  });
  EXPECT_TRUE(gpu.try_allocate(kDeviceBytes / 2));
  EXPECT_EQ(asked, 1);
}

TEST_F(OomTest, AHookIsAskedOnlyWhileItLives) {
  int asked = 0;
  OomHook hook = allocator.on_oom([&](const OomRecord&) {
    ++asked;
    return OomAnswer::give_up;
  });
  EXPECT_FALSE(gpu.try_allocate(2 * kDeviceBytes));
  EXPECT_EQ(asked, 1);
  OomHook moved = std::move(hook);
  hook.reset();
  EXPECT_FALSE(gpu.try_allocate(2 * kDeviceBytes));
  EXPECT_EQ(asked, 2) << "the moved hook is asked";
  moved.reset();
  EXPECT_FALSE(gpu.try_allocate(2 * kDeviceBytes));
  EXPECT_EQ(asked, 2);
}

TEST_F(OomTest, HooksAreAskedInTheOrderOfTheirMaking) {
  std::vector<int> order;
  const OomHook first = allocator.on_oom([&](const OomRecord&) {
    order.push_back(1);
    return OomAnswer::give_up;
  });
  const OomHook second = allocator.on_oom([&](const OomRecord&) {
    order.push_back(2);
    return OomAnswer::give_up;
  });
  EXPECT_FALSE(gpu.try_allocate(2 * kDeviceBytes));
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST_F(OomTest, AHookMayAllocateAndIsNotAskedForItself) {
  int asked = 0;
  const OomHook hook = allocator.on_oom([&](const OomRecord&) {
    ++asked;
    EXPECT_TRUE(gpu.try_allocate(kMiB));
    EXPECT_FALSE(gpu.try_allocate(2 * kDeviceBytes));
    return OomAnswer::give_up;
  });
  EXPECT_FALSE(gpu.try_allocate(2 * kDeviceBytes));
  EXPECT_EQ(asked, 1);
}

TEST_F(OomTest, AnEmptyPromiseFails) {
  int asked = 0;
  const OomHook hook = allocator.on_oom([&](const OomRecord&) {
    ++asked;
    return OomAnswer::try_again;
  });
  EXPECT_FALSE(gpu.try_allocate(2 * kDeviceBytes));
  EXPECT_LT(asked, 10) << "a hook that frees nothing must not be asked for ever";
}

}  // namespace
}  // namespace gapless::test
