// SPDX-License-Identifier: Apache-2.0
#include "engine/recurring.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace gapless::engine {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

Moment at(std::uint64_t live, Units size = Units(16384), Units offset = Units(64)) {
  return {live, size, offset};
}

class RecurringMissesTest : public testing::Test {
 protected:
  const std::unique_ptr<RecurringMisses> misses_ = std::make_unique<RecurringMisses>();
};

TEST_F(RecurringMissesTest, CountsWhatMovedAtTheSameMoment) {
  EXPECT_EQ(misses_->meet(at(100), 0), 0u);
  misses_->moved_granules(at(100));
  EXPECT_EQ(misses_->meet(at(100), 0), 1u);
  misses_->moved_granules(at(100));
  EXPECT_EQ(misses_->meet(at(100), 0), 2u);
  EXPECT_EQ(misses_->meet(at(101), 0), 0u) << "other live bytes";
  EXPECT_EQ(misses_->meet(at(100, Units(16385)), 0), 0u) << "another size";
  EXPECT_EQ(misses_->meet(at(100, Units(16384), Units(65)), 0), 0u) << "another place";
  for (int i = 0; i < 300; i++) misses_->moved_granules(at(100));
  EXPECT_EQ(misses_->meet(at(100), 0), 255u);
}

TEST_F(RecurringMissesTest, ALoopIsOneWhereAMissThatMovedIsMetAgain) {
  misses_->moved_granules(at(100));
  static_cast<void>(misses_->meet(at(200), 0));
  EXPECT_FALSE(misses_->comes_round()) << "another moment";
  misses_->stepped_aside(at(300), 0);
  static_cast<void>(misses_->meet(at(300), 0));
  EXPECT_FALSE(misses_->comes_round()) << "nothing moved there";
  static_cast<void>(misses_->meet(at(100), 0));
  EXPECT_TRUE(misses_->comes_round());
}

TEST_F(RecurringMissesTest, ABlockThatLeftInVainStays) {
  const Moment moment = at(100);
  std::uint64_t moved = 1000 * kMiB;
  EXPECT_FALSE(misses_->left_in_vain(moment));
  misses_->stepped_aside(moment, moved);
  static_cast<void>(misses_->meet(moment, moved += 16 * kMiB));
  EXPECT_FALSE(misses_->left_in_vain(moment)) << "twice its size may move";
  static_cast<void>(misses_->meet(moment, moved += 16 * kMiB));
  EXPECT_FALSE(misses_->left_in_vain(moment)) << "it counts from the last time";
  static_cast<void>(misses_->meet(moment, moved += 17 * kMiB));
  EXPECT_TRUE(misses_->left_in_vain(moment));
  static_cast<void>(misses_->meet(moment, moved));
  EXPECT_TRUE(misses_->left_in_vain(moment)) << "for good";
  EXPECT_FALSE(misses_->left_in_vain(at(101)));

  misses_->moved_granules(at(200));
  static_cast<void>(misses_->meet(at(200), moved + 1000 * kMiB));
  EXPECT_FALSE(misses_->left_in_vain(at(200))) << "it never left";
}

TEST_F(RecurringMissesTest, ManyMomentsForgetOneAnother) {
  for (std::uint64_t live = 0; live < 100000; live++) misses_->moved_granules(at(live));
  unsigned known = 0;
  for (std::uint64_t live = 0; live < 100000; live++) known += misses_->meet(at(live), 0);
  EXPECT_GT(known, 3000u);
  EXPECT_LE(known, 4096u);
}

}  // namespace
}  // namespace gapless::engine
