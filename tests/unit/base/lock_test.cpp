// SPDX-License-Identifier: Apache-2.0
#include "base/lock.hpp"

#include <gtest/gtest.h>

#include <mutex>
#include <thread>
#include <vector>

namespace gapless::base {
namespace {

TEST(FastLock, ExcludesAndWakesSleepers) {
  FastLock lock;
  std::int64_t sum = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; t++)
    threads.emplace_back([&] {
      for (int i = 0; i < 20000; i++) {
        const std::lock_guard guard(lock);
        sum++;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(sum, 160000);
}

TEST(FastLock, TryLockDoesNotWait) {
  FastLock lock;
  ASSERT_TRUE(lock.try_lock());
  std::thread([&] { EXPECT_FALSE(lock.try_lock()); }).join();
  lock.unlock();
  ASSERT_TRUE(lock.try_lock());
  lock.unlock();
}

#if GAPLESS_CHECK_LEVEL >= 2
TEST(Ranks, TakingAMapLockUnderAFastLockIsReported) {
  MapLock map;
  FastLock fast;
  fast.lock();
  EXPECT_THROW(map.lock(), BrokenInvariant);
  EXPECT_TRUE(map.try_lock());  // cannot deadlock
  map.unlock();
  fast.unlock();
}
#endif

}  // namespace
}  // namespace gapless::base
