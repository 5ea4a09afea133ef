// SPDX-License-Identifier: Apache-2.0
#include "config/values.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace gapless::config {
namespace {

TEST(ConfigValues, SizesTakeBinaryUnits) {
  const std::vector<std::pair<std::string, Size>> good = {{"0", 0},
                                                          {"512", 512},
                                                          {"512B", 512},
                                                          {"64KiB", 64 * kKiB},
                                                          {"2MiB", 2 * kMiB},
                                                          {"3GiB", 3 * kGiB},
                                                          {"1TiB", 1 << 10},
                                                          {"7M", 7 * kMiB},
                                                          {"1T", 1 << 10},
                                                          {"unlimited", kUnlimited},
                                                          {"18446744073709551615", kUnlimited}};
  for (const auto& [text, expected] : good) {
    Size value = 1;
    EXPECT_EQ(parse(text, Sizes(0, kUnlimited), value), "") << text;
    const bool tebibytes = text.find('T') != std::string::npos;
    EXPECT_EQ(value, tebibytes ? expected * kGiB : expected) << text;
  }
}

TEST(ConfigValues, BadSizesChangeNothing) {
  for (const char* text : {"", " ", "-1", "+1", "1.5GiB", "MiB", "2MB", "2mib", "2 MiB", "0x10", "18446744073709551616",
                           "16777216TiB", "17179869184GiB", "1e3", "unlimite", "2MiBx"}) {
    Size value = 77;
    EXPECT_NE(parse(text, Sizes(0, kUnlimited), value), "") << text;
    EXPECT_EQ(value, 77u) << text;
  }
  Size value = 77;
  EXPECT_NE(parse("unlimited", Sizes(0, kGiB), value), "");
  EXPECT_NE(parse("3MiB", Sizes(kMiB, kGiB, SizeRule::zero_or_power_of_two), value), "");
  EXPECT_NE(parse("2GiB", Sizes(kMiB, kGiB, SizeRule::zero_or_power_of_two), value), "");
  EXPECT_EQ(value, 77u);
  EXPECT_EQ(parse("0", Sizes(kMiB, kGiB, SizeRule::zero_or_power_of_two), value), "");
  EXPECT_EQ(value, 0u);
}

TEST(ConfigValues, RealsAreWholeFiniteAndInRange) {
  double value = 7;
  for (const char* text : {"", "nan", "inf", "-inf", "1.01x", "0.99", "4.01", "1,5", "1e999", " 1.5"}) {
    EXPECT_NE(parse(text, Reals(1.0, 4.0), value), "") << text;
  }
  EXPECT_EQ(value, 7);
  EXPECT_EQ(parse("1.01", Reals(1.0, 4.0), value), "");
  EXPECT_EQ(value, 1.01);
  EXPECT_EQ(parse("1e0", Reals(1.0, 4.0), value), "");
  EXPECT_EQ(value, 1.0);
}

TEST(ConfigValues, TogglesTakeBooleansToo) {
  Toggle value = Toggle::off;
  EXPECT_EQ(parse("auto", Any(), value), "");
  EXPECT_EQ(value, Toggle::automatic);
  EXPECT_EQ(parse("true", Any(), value), "");
  EXPECT_EQ(value, Toggle::on);
  EXPECT_EQ(parse("off", Any(), value), "");
  EXPECT_EQ(value, Toggle::off);
  EXPECT_EQ(parse("maybe", Any(), value), "must be off, auto or on");
}

TEST(ConfigValues, IntervalsOfDivisions) {
  const std::vector<std::pair<Size, std::size_t>> edges = {
      {0, 0},          {2 * kMiB - 1, 0},   {2 * kMiB, 1},   {4 * kMiB - 1, 1}, {256 * kMiB - 1, 7},
      {256 * kMiB, 8}, {32 * kGiB - 1, 14}, {32 * kGiB, 15}, {kUnlimited, 15}};
  for (const auto& [bytes, interval] : edges) EXPECT_EQ(Divisions::interval_of(bytes), interval) << bytes;
}

TEST(ConfigValues, InjectOomConditions) {
  InjectOom value;
  EXPECT_EQ(parse("17", Any(), value), "");
  EXPECT_TRUE(value.enabled);
  EXPECT_EQ(value.allocation, 17u);
  EXPECT_EQ(value.count, 1u);

  EXPECT_EQ(parse("[step:3,phase:bwd,rank:1,bytes:64MiB,random:0.25,seed:9,count:0]", Any(), value), "");
  EXPECT_EQ(value.allocation, std::nullopt);
  EXPECT_EQ(value.step, 3u);
  EXPECT_EQ(value.phase, "bwd");
  EXPECT_EQ(value.rank, 1u);
  EXPECT_EQ(value.at_least, 64 * kMiB);
  EXPECT_EQ(value.probability, 0.25);
  EXPECT_EQ(value.seed, 9u);
  EXPECT_EQ(value.count, 0u);

  const InjectOom before = value;
  for (const char* text :
       {"", "[]", "[", "0", "-1", "[allocation:0]", "[step]", "[step:]", "[step:1", "step:1", "[step:1,]", "[,step:1]",
        "[random:2]", "[phase:]", "[phase:01234567890123456789012345678901]", "[other:1]", "[[step:1]]",
        "99999999999999999999"}) {
    EXPECT_NE(parse(text, Any(), value), "") << text;
    EXPECT_EQ(value, before) << text;
  }
  EXPECT_EQ(parse("off", Any(), value), "");
  EXPECT_EQ(value, InjectOom{});
}

template <typename Value, typename Range>
void expect_round_trip(const Value& value, Range range) {
  Value back{};
  EXPECT_EQ(parse(format(value), range, back), "") << format(value);
  EXPECT_EQ(back, value) << format(value);
}

TEST(ConfigValues, TextFormReadsBack) {
  for (const bool value : {false, true}) expect_round_trip(value, Any());
  for (const Toggle value : {Toggle::off, Toggle::automatic, Toggle::on}) expect_round_trip(value, Any());
  for (const double value : {1.0, 1.01, 1.0 / 3.0 + 1.0, 4.0}) expect_round_trip(value, Reals(1.0, 4.0));
  for (const Size value : {Size{0}, Size{1}, kKiB + 1, 3 * kMiB, Size{5} << 40, kUnlimited - 1, kUnlimited}) {
    expect_round_trip(value, Sizes(0, kUnlimited));
  }
  Divisions divisions;
  expect_round_trip(divisions, Any());
  divisions.by_interval.fill(8);
  expect_round_trip(divisions, Any());
  divisions.by_interval[0] = 0;
  divisions.by_interval[15] = 16;
  expect_round_trip(divisions, Any());
  InjectOom inject;
  expect_round_trip(inject, Any());
  inject.enabled = true;
  expect_round_trip(inject, Any());
  inject.phase = "opt";
  inject.probability = 0.1;
  expect_round_trip(inject, Any());
}

}  // namespace
}  // namespace gapless::config
