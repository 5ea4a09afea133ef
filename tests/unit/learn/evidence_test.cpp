// SPDX-License-Identifier: Apache-2.0
// Which steps a forecast is made from.
#include "learn/evidence.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "training.hpp"

namespace gapless::learn {
namespace {

// A token: 100 bytes a layer, so that one more often changes no rounded size.
const Shape kTokens{.parameter_bytes = 64 * kKiB, .activation_bytes = 100, .workspaces_from_four = false};

double error_at(Evidence& evidence, std::uint64_t units) {
  const auto said = evidence.predict(units, Situation{0, kGiB});
  EXPECT_TRUE(said);
  return said ? static_cast<double>(said->peak) / static_cast<double>(recorded(kTokens, units, 0).peak) - 1.0 : 1.0;
}

TEST(Evidence, ANeighbourThatRoundsToTheSameSizesDoesNotHideTheGrowth) {
  Evidence evidence;
  for (const std::uint64_t units : {2048U, 4095U, 4096U}) evidence.add_good(recorded(kTokens, units, 0));
  EXPECT_LT(std::abs(error_at(evidence, 8192)), 0.02);
  EXPECT_GT(evidence.suggest(Situation{0, kGiB}).confidence, 0.9);
}

TEST(Evidence, SizesThatAreAllCloseAreNotBelievedMoreThanOneStep) {
  Evidence evidence;
  for (const std::uint64_t units : {4095U, 4096U}) evidence.add_good(recorded(kTokens, units, 0));
  EXPECT_LE(evidence.suggest(Situation{0, kGiB}).confidence, 0.5);
}

TEST(Evidence, OfAShapeThatFailsWhereAnotherRanTheFailureTellsHowItGrows) {
  for (const std::uint64_t longer : {150u, 400u, 1000u, 4000u}) {
    const Shape shape{.parameter_bytes = 64 * kKiB, .activation_bytes = longer, .workspaces_from_four = false};
    for (const std::uint64_t fits : {300u, 1000u, 2500u}) {
      const std::uint64_t capacity = recorded(shape, fits, 0).peak;
      if (recorded(kTokens, 4096, 0).peak > capacity || recorded(shape, 4096, 0).peak <= capacity) continue;
      Evidence evidence;
      evidence.add_good(recorded(kTokens, 4096, 0));
      evidence.add_failed(recorded(shape, 4096, 0, capacity), capacity);
      const gapless_suggestion said = evidence.suggest(Situation{0, capacity});
      EXPECT_LE(said.units, fits) << longer;
      EXPECT_GE(said.units, fits * 3 / 4) << longer;
      EXPECT_EQ(said.proven_fails, 4096u);
      EXPECT_GE(said.confidence, 0.5);
    }
  }
}

// The model of a shape is kept; it is that of the failure that counts today.
TEST(Evidence, OfTwoShapesThatFailedEachIsForetoldFromItsOwnFailure) {
  const Shape longer{.parameter_bytes = 64 * kKiB, .activation_bytes = 400, .workspaces_from_four = false};
  const Shape longest{.parameter_bytes = 64 * kKiB, .activation_bytes = 1000, .workspaces_from_four = false};
  const std::uint64_t less = recorded(longer, 1000, 0).peak, more = recorded(longest, 1000, 0).peak;
  RecordedStep first = recorded(longer, 4000, 0, less), second = recorded(longest, 4096, 0, more);
  first.number = 2;
  second.number = 3;
  Evidence both, alone;
  for (Evidence* const evidence : {&both, &alone}) {
    evidence->add_good(recorded(kTokens, 4096, 0));
    evidence->add_failed(second, more);
  }
  both.add_failed(first, less);
  const gapless_suggestion of_first = both.suggest(Situation{0, less});
  EXPECT_EQ(of_first.proven_fails, 4000u);
  EXPECT_EQ(both.suggest(Situation{0, less}).units, of_first.units);
  // The first proves nothing where more can be had.
  EXPECT_EQ(both.suggest(Situation{0, more}).proven_fails, 4096u);
  EXPECT_EQ(both.suggest(Situation{0, more}).units, alone.suggest(Situation{0, more}).units);
  EXPECT_EQ(both.suggest(Situation{0, less}).units, of_first.units);
}

TEST(Evidence, OfAShapeOfWhichNothingWasWrittenDownHalfIsTried) {
  Evidence evidence;
  evidence.add_good(recorded(kTokens, 4096, 0));
  RecordedStep failed;
  failed.units = 4096;
  evidence.add_failed(failed, 30 * kMiB);
  const gapless_suggestion said = evidence.suggest(Situation{0, 30 * kMiB});
  EXPECT_EQ(said.units, 2048u);
  EXPECT_EQ(said.proven_fails, 4096u);
  EXPECT_LT(said.confidence, 0.5);
}

}  // namespace
}  // namespace gapless::learn
