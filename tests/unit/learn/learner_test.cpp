// SPDX-License-Identifier: Apache-2.0
// Which evidence is kept.
#include "learn/learner.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/units.hpp"

namespace gapless::learn {
namespace {

class LearnerTest : public testing::Test {
 protected:
  engine::StepView view(const std::string& label, std::uint64_t units) {
    const std::uint64_t peak = units * kMiB;
    lives_ = {engine::JournalEntry{units_of(peak).count(), 0, 1, 0}};
    label_ = label;
    engine::StepView out{};
    out.label = label_.c_str();
    out.number = ++number_;
    out.units = units;
    out.peak = peak;
    out.whole = true;
    out.entries = lives_;
    out.events = 2;
    return out;
  }
  bool known(const std::string& label) { return learner_.predict(0, label, 2, now_).has_value(); }

  Learner learner_;
  const Situation now_{0, kGiB};

 private:
  std::vector<engine::JournalEntry> lives_;
  std::string label_;
  std::uint64_t number_ = 0;
};

TEST_F(LearnerTest, TheKindUnusedForLongestIsForgotten) {
  for (int round = 0; round < 3; round++)
    for (int i = 0; i < 16; i++) learner_.on_step(view("old" + std::to_string(i), 2));
  EXPECT_TRUE(known("old0")) << "asked for: used";
  learner_.on_step(view("new", 2));
  learner_.on_step(view("newer", 2));
  EXPECT_TRUE(known("new"));
  EXPECT_TRUE(known("newer"));
  EXPECT_TRUE(known("old0"));
  EXPECT_FALSE(known("old1"));
  EXPECT_FALSE(known("old2"));
}

TEST_F(LearnerTest, AFailureWithHolesProvesOnlyThatItFailed) {
  learner_.on_step(view("train", 2));
  engine::StepView failed = view("train", 64);
  failed.failed = true;
  failed.whole = false;
  const auto said = learner_.on_failure(failed, kGiB);
  ASSERT_TRUE(said);
  EXPECT_EQ(said->proven_fails, 64u);
  EXPECT_LE(said->confidence, 0.5) << "one good step, and nothing else that tells what grows";
}

class HandledFailure : public LearnerTest {
 protected:
  // A step of 64 samples of which a request fails after two events; then the step ends, with `more` born after it.
  std::uint64_t fails_after(const std::vector<engine::JournalEntry>& more) {
    learner_.on_step(view("train", 2));
    engine::StepView failed = view("train", 64);
    failed.failed = true;
    EXPECT_EQ(learner_.on_failure(failed, kGiB)->proven_fails, 64u);
    std::vector<engine::JournalEntry> all(failed.entries.begin(), failed.entries.end());
    all.insert(all.end(), more.begin(), more.end());
    failed.entries = all;
    failed.events = 20;
    learner_.on_step(failed);
    return learner_.predict(0, "train", 64, now_)->suggestion.proven_fails;
  }
};

TEST_F(HandledFailure, ThatEndedTheStepIsProof) {
  EXPECT_EQ(fails_after({}), 64u);
  EXPECT_EQ(fails_after({{units_of(16 * kMiB).count(), engine::JournalEntry::kOlder, 5, 0}}), 64u) << "a free";
  EXPECT_EQ(fails_after({{units_of(4096).count(), 4, 5, 0}}), 64u) << "a scalar";
}

TEST_F(HandledFailure, ThatTheStepOutlivedIsNone) {
  EXPECT_EQ(fails_after({{units_of(kMiB).count(), 4, 5, 0}}), 0u);
}

}  // namespace
}  // namespace gapless::learn
