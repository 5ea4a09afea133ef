// SPDX-License-Identifier: Apache-2.0
#include "base/units.hpp"

#include <gtest/gtest.h>

namespace gapless {
namespace {

TEST(Units, RoundBytesUp) {
  EXPECT_EQ(units_of(0), Units(0));
  EXPECT_EQ(units_of(1), Units(1));
  EXPECT_EQ(units_of(512), Units(1));
  EXPECT_EQ(units_of(513), Units(2));
  EXPECT_EQ(units_of(std::uint64_t{2} * kMiB).bytes(), 2 * kMiB);
  EXPECT_EQ(Units(~0u).bytes(), (std::uint64_t{1} << 41) - 512);
}

TEST(Units, RoundUp) {
  EXPECT_EQ(round_up<std::uint64_t>(0, 7), 0u);
  EXPECT_EQ(round_up<std::uint64_t>(1, 7), 7u);
  EXPECT_EQ(round_up<std::uint64_t>(14, 7), 14u);
}

}  // namespace
}  // namespace gapless
