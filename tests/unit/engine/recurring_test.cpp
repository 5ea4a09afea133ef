// SPDX-License-Identifier: Apache-2.0
#include "engine/recurring.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace gapless::engine {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

constexpr Units kSize{16384}, kOffset{64};

Moment at(std::uint64_t live, Units size = kSize, Units offset = kOffset, std::uint64_t moved = 0) {
  return {live, size, offset, moved};
}
Moment after(std::uint64_t moved, std::uint64_t live) {
  return at(live, kSize, kOffset, moved);
}

class RecurringMissesTest : public testing::Test {
 protected:
  const std::unique_ptr<RecurringMisses> misses_ = std::make_unique<RecurringMisses>();
};

TEST_F(RecurringMissesTest, CountsWhatMovedAtTheSameMoment) {
  EXPECT_EQ(misses_->meet(at(100)), 0u);
  misses_->moved_granules(at(100));
  EXPECT_EQ(misses_->meet(at(100)), 1u);
  misses_->moved_granules(at(100));
  EXPECT_EQ(misses_->meet(at(100)), 2u);
  EXPECT_EQ(misses_->meet(at(101)), 0u) << "other live bytes";
  EXPECT_EQ(misses_->meet(at(100, Units(16385))), 0u) << "another size";
  EXPECT_EQ(misses_->meet(at(100, Units(16384), Units(65))), 0u) << "another place";
  for (int i = 0; i < 300; i++) misses_->moved_granules(at(100));
  EXPECT_EQ(misses_->meet(at(100)), 302u);
}

TEST_F(RecurringMissesTest, ALoopIsOneWhereAMissThatMovedIsMetAgain) {
  misses_->moved_granules(at(100));
  static_cast<void>(misses_->meet(at(200)));
  EXPECT_FALSE(misses_->comes_round()) << "another moment";
  misses_->stepped_aside(at(300));
  static_cast<void>(misses_->meet(at(300)));
  EXPECT_FALSE(misses_->comes_round()) << "nothing moved there";
  static_cast<void>(misses_->meet(at(100)));
  EXPECT_TRUE(misses_->comes_round());
}

TEST_F(RecurringMissesTest, ABlockThatLeftInVainTwiceStays) {
  std::uint64_t moved = 1000 * kMiB;
  const auto leave_and_come_back = [&](std::uint64_t moved_meanwhile) {
    misses_->stepped_aside(after(moved, 100));
    static_cast<void>(misses_->meet(after(moved += moved_meanwhile, 100)));
    return misses_->left_in_vain(at(100));
  };
  for (int i = 0; i < 4; i++) EXPECT_FALSE(leave_and_come_back(16 * kMiB)) << "twice its size may move meanwhile";
  EXPECT_FALSE(leave_and_come_back(17 * kMiB)) << "once may be on the way to rest";
  EXPECT_FALSE(leave_and_come_back(0));
  static_cast<void>(misses_->meet(after(moved += 17 * kMiB, 100)));
  EXPECT_FALSE(misses_->left_in_vain(at(100))) << "it had not left again";
  EXPECT_TRUE(leave_and_come_back(17 * kMiB)) << "however often it left for good in between";
  EXPECT_TRUE(leave_and_come_back(0)) << "for good";
  EXPECT_FALSE(misses_->left_in_vain(at(101)));
}

TEST_F(RecurringMissesTest, OnlyOneThatLeftWasInVain) {
  misses_->moved_granules(after(0, 200));
  for (std::uint64_t moved = 1000; moved <= 5000; moved += 1000)
    static_cast<void>(misses_->meet(after(moved * kMiB, 200)));
  EXPECT_FALSE(misses_->left_in_vain(at(200))) << "it never left";

  misses_->stepped_aside(after(5000 * kMiB, 200));
  static_cast<void>(misses_->meet(after(6000 * kMiB, 200)));
  misses_->moved_granules(after(6000 * kMiB, 200));
  static_cast<void>(misses_->meet(after(7000 * kMiB, 200)));
  EXPECT_FALSE(misses_->left_in_vain(at(200))) << "the last time it stayed, and moved them itself";
}

TEST_F(RecurringMissesTest, ManyMomentsForgetOneAnother) {
  for (std::uint64_t live = 0; live < 100000; live++) misses_->moved_granules(at(live));
  unsigned known = 0;
  for (std::uint64_t live = 0; live < 100000; live++) known += misses_->meet(at(live));
  EXPECT_GT(known, 3000u);
  EXPECT_LE(known, 4096u);
}

}  // namespace
}  // namespace gapless::engine
