// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/kept_addresses.hpp"

#include <gtest/gtest.h>

namespace gapless::tools {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

const void* at(std::uint64_t address) {
  return reinterpret_cast<const void*>(address);
}

TEST(KeptAddresses, CountsWithinTheLabelAndLargeOnesOnly) {
  KeptAddresses kept;
  kept.allocated(4 * kMiB, at(1));  // before any step
  kept.begin(1);
  kept.allocated(4 * kMiB, at(10));
  kept.allocated(2 * kMiB, at(20));
  kept.allocated(kMiB, at(30));
  kept.begin(2);
  kept.allocated(4 * kMiB, at(99));
  kept.begin(1);
  kept.allocated(4 * kMiB, at(10));
  kept.allocated(2 * kMiB, at(21));
  kept.allocated(kMiB, at(30));
  kept.end();
  kept.end();
  ASSERT_EQ(kept.steps().size(), 3u);
  EXPECT_EQ(kept.steps()[0].of, 0u) << "nothing to keep";
  EXPECT_EQ(kept.steps()[1].of, 0u) << "another label";
  EXPECT_EQ(kept.steps()[2].kept, 1u);
  EXPECT_EQ(kept.steps()[2].of, 2u);
}

TEST(KeptAddresses, OneMoreOrLessShiftsNothingOfOtherSizes) {
  KeptAddresses kept;
  kept.begin(1);
  for (std::uint64_t i = 0; i < 4; ++i) kept.allocated((2 + i) * kMiB, at(100 + i));
  kept.begin(1);
  kept.allocated(9 * kMiB, at(7));  // an extra one
  for (std::uint64_t i = 0; i < 4; ++i)
    if (i != 2) kept.allocated((2 + i) * kMiB, at(100 + i));  // and a missing one
  kept.end();
  EXPECT_EQ(kept.steps()[1].kept, 3u);
  EXPECT_EQ(kept.steps()[1].of, 4u);
}

}  // namespace
}  // namespace gapless::tools
