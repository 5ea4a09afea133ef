// SPDX-License-Identifier: Apache-2.0
#include "base/flat_array.hpp"

#include <gtest/gtest.h>

#include <cstdint>

namespace gapless::base {
namespace {

TEST(FlatArray, GrowsInPlaceAndStartsAsZero) {
  FlatArray<std::uint32_t> array(1 << 20);
  ASSERT_TRUE(array.grow_to(1));
  const std::uint32_t* const before = array.data();
  array[0] = 7;
  for (std::size_t size : {2u, 16384u, 16385u, 40000u, 1u << 20}) {
    ASSERT_TRUE(array.grow_to(size));
    EXPECT_EQ(array[size - 1], 0u);
    array[size - 1] = 9;
  }
  EXPECT_EQ(array.data(), before);
  EXPECT_EQ(array[0], 7u);
}

TEST(FlatArray, RefusesBeyondItsCapacity) {
  FlatArray<std::uint64_t> array(100);
  EXPECT_TRUE(array.grow_to(100));
  EXPECT_FALSE(array.grow_to(101));
  EXPECT_GE(array.size(), 100u);
}

TEST(FlatArray, ElementsThatDoNotDivideAPage) {
  struct Odd {
    char bytes[40];
  };
  FlatArray<Odd> array(100000);
  for (std::size_t size = 1; size <= 100000; size += 997) {
    ASSERT_TRUE(array.grow_to(size));
    array[size - 1].bytes[39] = 1;
  }
}

TEST(FlatArray, ReservedAddressesCostNoMemory) {
  // 256 GiB; of a TiB ThreadSanitizer's layout of addresses refuses one time in five.
  FlatArray<std::uint64_t> array(std::size_t{1} << 35);
  ASSERT_EQ(array.capacity(), std::size_t{1} << 35);
  EXPECT_EQ(array.committed_bytes(), 0u);
}

}  // namespace
}  // namespace gapless::base
