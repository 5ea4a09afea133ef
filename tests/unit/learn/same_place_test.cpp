// SPDX-License-Identifier: Apache-2.0
#include "learn/same_place.hpp"

#include <gtest/gtest.h>

namespace gapless::learn {
namespace {

RecordedStep births(const std::vector<std::uint32_t>& sizes) {
  RecordedStep step;
  for (const std::uint32_t units : sizes)
    step.lives.push_back(Life{units, static_cast<std::uint32_t>(step.lives.size()), Life::kAlive, 0});
  return step;
}

// Two of the size of 100: one follows a 7 and grows, the other follows a 9 and does not.
TEST(SamePlace, NeighboursTellApartWhatHasTheSameSize) {
  const RecordedStep step = births({7, 100, 9, 100, 7, 100, 9, 100});
  const SamePlace same(step, {7, 400, 9, 100, kNotSeen, kNotSeen, kNotSeen, kNotSeen});
  EXPECT_TRUE(same.of(5)->grows);
  EXPECT_EQ(same.of(5)->units, 400.0);
  EXPECT_FALSE(same.of(7)->grows);
}

TEST(SamePlace, WhereNothingTellsEachTakesItsShare) {
  const RecordedStep step = births({7, 100, 9, 100, 1, 100, 2});
  const SamePlace same(step, {7, 400, 9, 100, kNotSeen, kNotSeen, kNotSeen});
  EXPECT_TRUE(same.of(5)->grows);
  EXPECT_EQ(same.of(5)->units, 250.0);
  EXPECT_FALSE(same.of(6)) << "nothing of that size was seen";
}

// Nine of ten between a 7 and a 9 grew, but of all of that size nine of a hundred.
TEST(SamePlace, TheStrictestPlaceSpeaksAlsoWhereItSawBothKinds) {
  std::vector<std::uint32_t> sizes, there;
  for (std::uint32_t i = 0; i < 100; i++) {
    sizes.insert(sizes.end(), {i < 10 ? 7u : 1000 + i, 100, i < 10 ? 9u : 2000 + i});
    there.insert(there.end(), {kNotSeen, i < 9 ? 400u : 100u, kNotSeen});
  }
  sizes.insert(sizes.end(), {7, 100, 9});
  there.insert(there.end(), {kNotSeen, kNotSeen, kNotSeen});
  const std::optional<Likely> said = SamePlace(births(sizes), there).of(301);
  ASSERT_TRUE(said);
  EXPECT_TRUE(said->grows);
  EXPECT_EQ(said->units, 370.0);
}

TEST(SamePlace, OfWhatIsOlderThanTheStepNothingIsSaid) {
  RecordedStep step = births({7, 100});
  step.lives.push_back(Life{100, Life::kOlder, 5, 0});
  EXPECT_FALSE(SamePlace(step, {7, 400, kNotSeen}).of(2));
}

}  // namespace
}  // namespace gapless::learn
