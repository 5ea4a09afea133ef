// SPDX-License-Identifier: Apache-2.0
// The statistic: which large blocks of a marked step lie where their counterpart lay before.
#include "engine/kept_addresses.hpp"

#include <vector>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

class KeptAddressesTest : public EngineTest {
 protected:
  void mark(const char* label) { ASSERT_EQ(gapless_mark_step(allocator, 0, label, 0), GAPLESS_OK); }
  // Blocks that all live until the step's end.
  void step(const char* label, const std::vector<std::uint64_t>& sizes) {
    mark(label);
    std::vector<void*> blocks;
    for (const std::uint64_t size : sizes) blocks.push_back(allocate(size));
    for (void* const block : blocks) free(block);
  }
  void expect(std::int64_t repeated, std::int64_t kept) {
    EXPECT_EQ(stats().large_repeated, repeated);
    EXPECT_EQ(stats().large_kept, kept);
  }
};

TEST_F(KeptAddressesTest, CountsLargeBlocksWithACounterpartInTheLastStepOfTheLabel) {
  open();
  step("train", {4 * kMiB, 2 * kMiB, 1000});
  step("eval", {64 * kMiB});
  expect(0, 0);  // nothing to keep yet
  step("train", {4 * kMiB, 2 * kMiB, 1000});
  mark("");
  expect(2, 2);  // with an evaluation between them
  void* const fence = allocate(4 * kMiB);
  step("train", {4 * kMiB, 2 * kMiB, 2 * kMiB});
  mark("");
  expect(4, 2);  // the fence has shifted all of them, and the third has none to compare with
  free(fence);
}

TEST_F(KeptAddressesTest, OneMoreOrLessShiftsThoseOfItsSizeOnly) {
  const std::vector<JournalEntry> before{{5000, 0, 9, 0}, {6000, 1, 9, 0}, {7000, 2, 9, 0}};
  const std::vector<std::uint32_t> places{10, 20, 30};
  KeptAddresses kept;
  EXPECT_EQ(kept.step_ended("a", before, places).of, 0);
  const std::vector<JournalEntry> more{{6000, 0, 9, 0}, {4000, 1, 9, 0}, {5000, 2, 9, 0}, {JournalEntry{100, 3, 9, 0}}};
  const std::vector<std::uint32_t> elsewhere{20, 40, 11, 50};
  const KeptAddresses::Share share = kept.step_ended("a", more, elsewhere);
  EXPECT_EQ(share.of, 2);
  EXPECT_EQ(share.kept, 1);
  // Another stream's heap is another place.
  const std::vector<JournalEntry> other{{6000, 0, 9, 1u << 24}};
  EXPECT_EQ(kept.step_ended("a", other, std::vector<std::uint32_t>{20}).kept, 0);
}

TEST_F(KeptAddressesTest, TheLabelSeenLongestAgoIsForgotten) {
  const std::vector<JournalEntry> one{{5000, 0, 9, 0}};
  const std::vector<std::uint32_t> place{10};
  KeptAddresses kept;
  for (const char* const label : {"0", "1", "2", "3", "4", "5", "6", "7", "8"}) kept.step_ended(label, one, place);
  EXPECT_EQ(kept.step_ended("8", one, place).of, 1);
  EXPECT_EQ(kept.step_ended("1", one, place).of, 1);
  EXPECT_EQ(kept.step_ended("0", one, place).of, 0);
}

TEST_F(KeptAddressesTest, WithoutLearningNothingIsCounted) {
  config::Options options;
  options.learn = false;
  open(80 * kGiB, options);
  for (int i = 0; i < 3; i++) step("train", {4 * kMiB});
  expect(0, 0);
}

}  // namespace
}  // namespace gapless::engine
